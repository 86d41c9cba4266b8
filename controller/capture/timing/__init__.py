"""When everything that a captured program asked for would happen on the declared cluster.

Every captured rank is a player: a host queue, its streams, and what it takes of its device and its way to the others.
`rows.py` writes down what the host launched as activities of the engine, in the order of the host: a launch takes host
time, a kernel waits for its launch, for its stream and for the events that its stream waits for. A collective starts
when every player of its group has come to it, lasts what the same call lasts alone on the declared fabric
(`collective_times.py`, an execution of the algorithm by the same engine), and shares ports, memory and multiprocessors
with what runs meanwhile. Nothing else has a duration of its own; the engine finds the time of the step.

This is no `Plan`: a plan names every device, and one rank stands here for thousands that do the same.
"""
