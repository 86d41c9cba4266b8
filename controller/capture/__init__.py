"""An unmodified PyTorch program on a declared cluster: captured without a GPU, timed by the engine.

``windtunnel torch run PROGRAM`` starts the program as rank 0 of the declared cluster, in a process of its own
(`inside/`). There "cuda" is the declared device: a small library in C++ (`shim/`, built at first use) gives a PyTorch
that was built without CUDA a device guard and hooks, Python fills in what else is missing, tensors are fake, and every
operation, stream, event and collective is logged in the order in which the host asks for it (`trace.py`).

The log becomes time in two steps. `lowering/` says which kernels a call launches and what each demands, and the device
models say how long. `timing/` plays the steps on the engine: host, streams, events and collectives of the declared
fabric. `memory.py` replays the caching allocator.

One rank stands for all that do the same. Ranks that it exchanges messages with (the stages of a pipeline) are captured
too, and the last rank as a check.

What only data could say comes from known values of small tensors, from ``--oracle``, or is a placeholder that may be
printed; where the program branches on it the capture ends with file and line. ``torch.compile`` runs as eager. CUDA
graphs are refused: a replay would hide its kernels.
"""
