"""What to do, and nothing else: a plan is a DAG of four ops over named devices, tiers and buffers.

`ops.py` has the ops, `build.py` makes plans, `hazards.py` derives their edges, `check.py` proves them anew without
trusting the builder, `capacity.py` decides before anything runs whether allocations fit and which frees they wait for.
A plan opens no socket, reads no clock and moves no byte; both executors run it unchanged.

Sizes that depend on the step of a program (`size.py`) stay open until the plan is submitted, so that a decode step is
built and compiled once and run a thousand times; `extents.py` checks the open views again at every binding. A plan
never branches on data; a program picks the next plan.

Several sources of one transfer mean reduction in the network, which no declared switch offers yet: the check refuses
them. `Repeat` and symmetric groups are not there: what they would save, templates save already for what runs today.
"""
