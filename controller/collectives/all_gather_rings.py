"""all_gather over one ring for each rank of a host, each with a part of every chunk.

Paper: none; see `host_rings`.
Follows: `all_gather_ring` over every ring of `host_rings`, side by side.
Differs: see `host_rings`.
Checked by: tests/unit/controller/collectives/test_rings.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.host_rings import host_rings, parts_of
from controller.collectives.rings import ring_gather


def rings(exchange: Exchange) -> None:
    """Every NIC of a host has a ring of its own.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    orders, outputs = host_rings(exchange), list(exchange.outputs)
    for rank, (start, stop) in enumerate(exchange.whole_chunks()):
        exchange.copy_own(exchange.inputs[rank], part(outputs[rank], start, stop))
    for step in range(exchange.world_size - 1):
        for piece in range(exchange.pieces):
            for number, order in enumerate(orders):
                chunks = parts_of(exchange.chunks(piece), len(orders), number)
                ring_gather(exchange, order, chunks, outputs, step, number)
