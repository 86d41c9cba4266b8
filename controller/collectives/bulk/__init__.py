"""Collectives over thousands of ranks, timed without a plan.

A plan has a Python object for each transfer; a ring over 16,384 ranks has half a billion. Here the same transfers and
additions are rows of arrays (`phases`, `rows`, `exchange`), what they load is found for one pair of each kind of
devices and carried over to the rest (`loads`), and ranks that do the same at the same time are one (`symmetry`, with
the argument). The engine is that of the virtual executor, so the times are those of the plan; the tests hold them to
1e-9 of it, on even and uneven fabrics.

How the cost grows: with c classes of ranks a ring over n ranks is 2 (n - 1) c transfers to simulate instead of
2 (n - 1) n. One switch has one class, hosts of eight around a switch have eight. Sizes that do not divide evenly, or a
link that is slower than the others, make every rank a class of its own: then all transfers are simulated, in windows of
some steps (`stream`), so that time grows with n^2 and memory with n. all_to_all at once is one row for each pair of
kinds of ranks (`kinds`), at most n^2; in rounds it is n (n - 1) rows, all in memory, some 300 bytes each.
"""
