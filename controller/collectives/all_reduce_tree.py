"""all_reduce up and down one tree.

Paper: TPI-LLM, arXiv 2410.00531, section 3.2, compares its star with such a tree of depth two.
Follows: every rank sends what its children gave it, with its own, to its parent; the root sends the sum back down.
Differs: the fan-out is a parameter (2 by default).
Checked by: tests/paper/test_tpi_llm.py (16 tau), the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange
from controller.collectives.trees import even_tree, tree_all_reduce
from controller.plan.ranges import even_ranges


def tree(exchange: Exchange, fanout: int = 2) -> None:
    """The tree of least depth with at most `fanout` children for each rank, its root at the collective's."""
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
    else:
        shape = even_tree(exchange.world_size, fanout, exchange.root)
        tree_all_reduce(exchange, shape, even_ranges(exchange.count, exchange.pieces))
