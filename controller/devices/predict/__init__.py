"""One question to the device models at a time: how long does this take alone on that device, and what bounds it?

`ask` holds the table of questions (a GEMM, an attention, a copy, ...) with the sizes that each needs; `question` says
what one is and turns an answer of `node.hardware` into a number that can be held against a measurement: kernel time
plus the start of the op on the device. `kernels` and `moves` are the questions themselves. `shapes` reads and writes
CSV files of sizes, `answer` answers them, and `products` knows under which names data files speak of the products of
the catalog. Nothing here computes a time: `node.hardware` does.
"""
