"""Models: shapes, weights, plain references, and the plan fragments that strategies compose.

``shape`` holds what plans and costs need and no weight; ``catalog`` finds a shape by name or reads it from a Hugging
Face configuration. ``weights`` brings values under canonical names (those of ``shape.weight_shapes``), from a seed or
from a file. ``reference`` generates text in one process, without plans, nodes or devices: what live runs are compared
with. ``decoder`` and ``stage`` emit the ops of a forward pass on one device; where keys and values live and where
attention over them runs is the strategy's part, between two fragments.
"""
