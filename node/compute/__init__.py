"""The arithmetic of a node, on torch: one kernel for every entry of the operation table.

Kernels write into outputs that are allocated already, which are views of tier memory. They trust their operands:
the caller has already called the entry's ``check`` before. What a kernel costs in device time is not known here.
"""
