"""all_reduce over two binary trees, half of the data each.

Paper: Sanders, Speck and Traeff, Two-tree algorithms for full bandwidth broadcast, reduction and scan, Parallel
    Computing 35(12), 2009.
Follows: the second tree is the first one turned by one rank, so that a rank is inside at most one of them and no rank
    sends or receives the data more than twice.
Differs: pieces follow each other through a tree as its edges come free, without the paper's colouring of rounds.
Checked by: tests/unit/controller/collectives/test_trees.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call
from controller.collectives.rings import copy_own
from controller.collectives.trees import inorder_tree, tree_all_reduce
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def double_binary_tree(call: Call) -> Plan:
    """The in-order binary tree for one half, the same turned by one rank for the other."""
    build = PlanBuilder(f"all_reduce double binary tree {call.count} {call.dtype}")
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    for shift, (start, stop) in enumerate(even_ranges(call.count, 2)):
        tree = inorder_tree(call.world_size, shift)
        tree_all_reduce(build, call, tree, even_ranges(stop - start, call.pieces, start))
    return build.plan()
