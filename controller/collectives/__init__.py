"""Collectives: pure functions from a call to a plan.

`call.py` says what a call is and where its buffers lie, `table.py` lists the algorithms, one a file; `rings.py` and
`trees.py` hold what several of them share. An algorithm opens no socket and has no formula for its own time: the
virtual executor times its plan, the live one runs it, and `measure/` says how long it took and
how many elements are wrong. `choose/` takes the algorithm that the model says is fastest.

A collective is one launch of the host in libraries, however many steps it has. `protocol.py` describes a topology as
such a library sees it: what a call costs to start, what a hop costs in software, and which rate the protocol reaches.
`alongside.py` is the topology that other kernels see meanwhile: its channels keep multiprocessors from them.
`in_switch.py` holds what algorithms share whose sums and copies a switch makes.
"""
