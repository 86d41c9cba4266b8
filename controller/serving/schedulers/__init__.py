"""Schedulers of one instance, one file each: `decide(state, now)` says who runs in the next iteration.

A scheduler is a pure function of an `InstanceState` and an instant. It reads the state, changes nothing, keeps nothing
between two calls and draws no random number, so that the same state gives the same decision. A new one is a file and a
line of `table.py`; one of a user's own is named ``file.py:function``.
"""
