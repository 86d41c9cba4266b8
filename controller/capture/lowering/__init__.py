"""From calls of PyTorch to kernels of the device models.

`table.py` says for each call which kernels it launches, each as a `Demand` that `node.hardware.cost` times: products
and attention through the models of their families, everything else by the bytes that it reads and writes, once for each
pass that the kernel of PyTorch makes over its operands. Views and allocations launch nothing. A call that the table
lacks is timed by the bytes of its operands, and named in the report with its share of the time.
"""
