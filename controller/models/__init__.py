"""Models: shapes, weights, plain references, and the layer that strategies compose.

``shape`` holds what plans and costs need and no weight; ``catalog`` finds a shape by name or reads it from a Hugging
Face configuration. ``weights`` brings values under canonical names (those of ``shape.weight_shapes``), from a seed or
from a file. ``reference`` generates text in one process, without plans, nodes or devices: what live runs are compared
with.

``block`` emits the transformer layer over a script, once, for every strategy; where keys and values live and where
attention over them runs is the strategy's part. Its parts (``norm``, ``linear``, ``feed_forward``) have their backward
pass beside the forward one, of which ``training`` puts together what a training step does. ``cut`` says how tensor
parallelism cuts weights, and ``sharded_block`` is the layer over ranks, forward and backward: ``sharded`` decodes
with it, training trains with it, both over a ``RankScript``, in which one op stands for one on each rank.
"""
