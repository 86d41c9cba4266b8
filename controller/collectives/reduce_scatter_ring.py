"""reduce_scatter over one ring.

Paper: Patarasuk and Yuan, JPDC 69(2), 2009: the first half of their all-reduce.
Follows: n - 1 steps of 1/n of the data each, to the next rank.
Differs: see `all_reduce_ring`.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.rings import ring_reduce


def ring(exchange: Exchange) -> None:
    """All ranks in order."""
    ranks = range(exchange.world_size)
    inputs, outputs = exchange.inputs, exchange.outputs
    if exchange.world_size == 1:
        exchange.copy_own(inputs[0], outputs[0])
        return
    scratch = [exchange.scratch(rank) for rank in ranks]
    base = [start for start, _ in exchange.whole_chunks()]
    for step in range(exchange.world_size - 1):
        for piece in range(exchange.pieces):
            chunks = exchange.chunks(piece)
            sums = [part(outputs[rank], chunks[rank][0] - base[rank], chunks[rank][1] - base[rank]) for rank in ranks]
            ring_reduce(exchange, ranks, chunks, inputs, scratch, sums, step)
