"""One run from names: topology, model and strategy become a result, on one of the executors.

Sits above strategies and executors and below the command line and the reproductions, which both ask it.

`run_spec` is what a user asks for. `run` asks one of the executors for it: `virtual` on the virtual clock, `live` on
node processes, `local` in this process. For the last two `generation` and `training` make the data and the plain
reference, and `values` says how far the two are apart. `result` is what comes back, with everything that a report
needs.
"""
