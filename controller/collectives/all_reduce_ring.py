"""all_reduce over one ring: reduce-scatter, then all-gather.

Paper: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 69(2), 2009.
Follows: 2 (n - 1) steps of 1/n of the data each, to the next rank.
Differs: each chunk may be cut into pieces that go round independently; what arrives is kept in a scratch buffer as
    large as the data, where libraries reuse a small one.
Checked by: tests/golden/test_ring.py (timeline by hand), tests/unit/controller/collectives/test_alpha_beta.py,
    the conformance suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.collectives.exchange import Exchange, part
from controller.collectives.rings import ring_gather, ring_reduce
from controller.plan.ranges import Range


@dataclass(frozen=True, slots=True)
class Ring:
    """A part of the data that goes round.

    Attributes:
        order: ranks.
        chunks: what each rank will own of it.
        channel: of its messages.
    """

    order: Sequence[int]
    chunks: tuple[Range, ...]
    channel: int = 0


def ring(exchange: Exchange) -> None:
    """All ranks in order, all data one way round."""
    order = range(exchange.world_size)
    emit_rings(exchange, [Ring(order, exchange.chunks(piece)) for piece in range(exchange.pieces)])


def emit_rings(exchange: Exchange, rings: Sequence[Ring]) -> None:
    """all_reduce of several parts of the data, each over a ring of its own, step by step side by side."""
    ranks = range(exchange.world_size)
    inputs, outputs = exchange.inputs, exchange.outputs
    if exchange.world_size == 1:
        exchange.copy_own(inputs[0], outputs[0])
        return
    scratch = [exchange.scratch(rank) for rank in ranks]
    own = [[part(outputs[rank], *ring.chunks[rank]) for rank in ranks] for ring in rings]
    for step in range(exchange.world_size - 1):
        for ring, sums in zip(rings, own, strict=True):
            ring_reduce(exchange, ring.order, ring.chunks, inputs, scratch, sums, step, ring.channel)
    for step in range(exchange.world_size - 1):
        for ring in rings:
            ring_gather(exchange, ring.order, ring.chunks, outputs, step, ring.channel)
