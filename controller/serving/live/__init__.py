"""Iterations of a server with values: every one is a plan over node processes, tokens come out of it.

`RequestTexts` has the token ids of every request, `PageTable` says which pages of an instance's pool hold whose keys
and values, `LiveForward` makes the plan of one iteration over both, and `LiveInstance` carries out what the scheduler
decided: rows of many requests in one forward pass, swaps and migrations page by page.

The scheduler, the pool's counts and the clock are those of a virtual run: a live server decides the same, and its
iterations take what their plans take on the declared hardware.
"""
