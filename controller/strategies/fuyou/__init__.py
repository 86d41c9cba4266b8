"""Training with parameters, optimizer states and activations on an array of SSDs, and the systems it was compared with.

One file an idea: `array.py` stripes tensors over drives, `groups.py` cuts a model into what one Adam step takes,
`planner.py` chooses by the paper's equations what to swap, `places.py` says where activations lie, `fuyou.py` is the
step. `zero.py` and `flashneuron.py` are the baselines.
"""
