"""Collectives: pure functions that send and add up what ranks give, as ops of a plan.

An algorithm is a function of an `exchange.py`: what ranks give and get, and where ops go. `table.py` lists the
algorithms, one a file; `rings.py` and `trees.py` hold what several of them share. `on_values.py` runs them inside of
any script, `call.py` as a plan of their own. An algorithm opens no socket and has no formula for its own time: the
virtual executor times its plan, the live one runs it, and `measure/` says how long a call took and how many elements
are wrong. `choose/` takes the algorithm that the model says is fastest.

A collective is one launch of the host in libraries, however many steps it has. `protocol.py` describes a topology as
such a library sees it: what a call costs to start, what a hop costs in software, and which rate the protocol reaches.
`alongside.py` is the topology that other kernels see meanwhile: its channels keep multiprocessors from them.
`software.py` has the same costs for a collective beside other ops of a plan, where no device changes. `in_switch.py`
holds what algorithms share whose sums and copies a switch makes.
"""
