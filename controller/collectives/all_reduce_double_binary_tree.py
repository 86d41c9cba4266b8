"""all_reduce over two binary trees, half of the data each.

Paper: Sanders, Speck and Traeff, Two-tree algorithms for full bandwidth broadcast, reduction and scan, Parallel
    Computing 35(12), 2009.
Follows: the second tree is the first one turned by one rank, so that a rank is inside at most one of them and no rank
    sends or receives the data more than twice.
Differs: pieces follow each other through a tree as its edges come free, without the paper's colouring of rounds.
Checked by: tests/unit/controller/collectives/test_trees.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange
from controller.collectives.trees import inorder_tree, tree_all_reduce
from controller.plan.ranges import even_ranges


def double_binary_tree(exchange: Exchange) -> None:
    """The in-order binary tree for one half, the same turned by one rank for the other."""
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    for shift, (start, stop) in enumerate(even_ranges(exchange.count, 2)):
        tree = inorder_tree(exchange.world_size, shift)
        tree_all_reduce(exchange, tree, even_ranges(stop - start, exchange.pieces, start), channel=shift)
