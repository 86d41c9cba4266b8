"""The controller: declared topologies, plans, two executors, strategies, published tables, and the command line.

It knows nodes through `node.client` only, and their hardware through `node.hardware`.
"""
