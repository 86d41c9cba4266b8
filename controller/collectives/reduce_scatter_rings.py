"""reduce_scatter over one ring for each rank of a host, each with a part of every chunk.

Paper: none; see `host_rings`.
Follows: `reduce_scatter_ring` over every ring of `host_rings`, side by side.
Differs: see `host_rings`.
Checked by: tests/unit/controller/collectives/test_rings.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.host_rings import host_rings, parts_of
from controller.collectives.rings import ring_reduce


def rings(exchange: Exchange) -> None:
    """Every NIC of a host has a ring of its own.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    orders = host_rings(exchange)
    ranks, inputs, outputs = range(exchange.world_size), exchange.inputs, exchange.outputs
    if exchange.world_size == 1:
        exchange.copy_own(inputs[0], outputs[0])
        return
    scratch = [exchange.scratch(rank) for rank in ranks]
    base = [start for start, _ in exchange.whole_chunks()]
    for step in range(exchange.world_size - 1):
        for piece in range(exchange.pieces):
            for number, order in enumerate(orders):
                chunks = parts_of(exchange.chunks(piece), len(orders), number)
                sums = [
                    part(outputs[rank], chunks[rank][0] - base[rank], chunks[rank][1] - base[rank]) for rank in ranks
                ]
                ring_reduce(exchange, order, chunks, inputs, scratch, sums, step, number)
