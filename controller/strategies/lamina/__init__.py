"""Attention offloading: the model on one pool of devices, the KV cache and decode attention on another.

``options.py`` and ``network.py`` read what a user chose; ``shards.py`` says who holds which heads and weights;
``ranks.py`` emits the model's part of a layer over tensor-parallel GPUs and ``sides.py`` attention, on memory devices
or on those GPUs; ``rotation.py`` weaves concurrent batches into one step. On top of it ``fixed.py`` decodes a fixed
batch, value for value, and ``stream.py`` keeps a pool full from a stream of requests. ``lamina.py`` has both systems:
Lamina, and the homogeneous baseline out of the same parts.
"""
