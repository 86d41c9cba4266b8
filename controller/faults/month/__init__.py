"""A job under failures for a month: how much of its time is useful, and where the rest goes.

`simulate.py` runs many months on drawn failures (`controller.faults.rates`) and gives a ledger whose rows sum to the
wall time exactly, since time is counted in whole ticks of 2^-20 s. `checkpoints.py` says what a checkpoint costs and
which failures its copy survives, `recovery.py` what is done about a failure, `theory.py` the formulas beside it:
Young's and Daly's interval, the exact optimum, and the renewal formula of the share that is useful.

Simplification: the job is bulk-synchronous, so one failed host stops all of it; its hosts are alike; checkpoints come
at equal intervals of the wall clock while it trains.
"""
