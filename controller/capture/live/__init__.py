"""``torch.distributed`` over node processes: the backend ``windtunnel``, and programs that run on it with real values.

Every rank is a process with real tensors on the CPU. What a rank gives to a collective it writes into the memory of its
own node (`exchange.py`), over gRPC or, on one machine, into the memory that it shares with it; the others read it from
there when the store says that it is whole, and add in the order of ranks, so that all get the same bits. A rank that
never comes ends the others with its name.

``init_process_group("windtunnel")`` works under plain torchrun too (entry point ``torch.backends``); then rank 0 starts
the nodes. ``windtunnel torch run --live`` starts nodes and ranks, and takes whatever backend the program names for this
one.
"""
