"""all_reduce over two rings of opposite direction, half of the data each.

Paper: Chan, Heimlich, Purkayastha and van de Geijn, Collective communication: theory, practice, and experience, CCPE
    19(13), 2007: bidirectional buckets on links that carry both directions at once.
Follows: the first half of every chunk goes round upwards, the second half downwards.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.all_reduce_ring import Ring, emit_rings
from controller.collectives.exchange import Exchange
from controller.plan.ranges import even_ranges


def bidirectional_ring(exchange: Exchange) -> None:
    """All ranks in order for one half, in reverse order for the other."""
    up, down = range(exchange.world_size), range(exchange.world_size - 1, -1, -1)
    rings: list[Ring] = []
    for piece in range(exchange.pieces):
        halves = [even_ranges(stop - start, 2, start) for start, stop in exchange.chunks(piece)]
        rings.append(Ring(up, tuple(first for first, _ in halves), channel=0))
        rings.append(Ring(down, tuple(second for _, second in halves), channel=1))
    emit_rings(exchange, rings)
