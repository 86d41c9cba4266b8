"""Turns measurements of a device into constants of a sheet, and says how well they then hold.

`split` decides by a hash of the shape which rows are fitted and which are left out, so that the error that is reported
is one on shapes that the fit has not seen. `fit` searches the few constants that a table speaks of. `pasted` reads what
nccl-tests, nvbandwidth, fio and Intel MLC print. `sheet` writes the sheet, every new constant with data set, date and
method.
"""
