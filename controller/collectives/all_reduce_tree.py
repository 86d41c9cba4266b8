"""all_reduce up and down one tree.

Paper: TPI-LLM, arXiv 2410.00531, section 3.2, compares its star with such a tree of depth two.
Follows: every rank sends what its children gave it, with its own, to its parent; the root sends the sum back down.
Differs: the fan-out is a parameter (2 by default).
Checked by: tests/paper/test_tpi_llm.py (16 tau), the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call
from controller.collectives.rings import copy_own
from controller.collectives.trees import even_tree, tree_all_reduce
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def tree(call: Call, fanout: int = 2) -> Plan:
    """The tree of least depth with at most `fanout` children for each rank, its root at the call's."""
    build = PlanBuilder(f"all_reduce tree {call.count} {call.dtype}")
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
    else:
        shape = even_tree(call.world_size, fanout, call.root)
        tree_all_reduce(build, call, shape, even_ranges(call.count, call.pieces))
    return build.plan()
