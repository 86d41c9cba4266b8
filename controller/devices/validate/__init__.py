"""How far the device models are from measurements that others made.

`files` tells from a file's name which device and which table it holds, reads it and refuses, by file and line, what
is invalid: a missing column, a negative time, a row faster than the chip. `compare` asks the models for every row
that is left and sums up |model / measured - 1|: median, 90th percentile and bias, over all rows, by decade of the
measured time and by what bounds the row. `limits` says what no measurement can be, `host_dram` reads points of Intel
MLC, `nccl` times of collectives, and `markdown` prints the result for the README.

Every file of a folder is answered for: one with a table that no model covers is listed as such, with its rows counted
as left out.
"""
