"""all_reduce over one ring for each rank of a host, each with a part of the data.

Paper: none; see `host_rings`.
Follows: `all_reduce_ring` over every ring of `host_rings`, side by side.
Differs: see `host_rings`.
Checked by: tests/unit/controller/collectives/test_rings.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.all_reduce_ring import Ring, emit_rings
from controller.collectives.exchange import Exchange
from controller.collectives.host_rings import host_rings, parts_of


def rings(exchange: Exchange) -> None:
    """Every NIC of a host has a ring of its own.

    Raises:
        BadCall: hosts with different numbers of ranks.
    """
    orders = host_rings(exchange)
    emit_rings(
        exchange,
        [
            Ring(order, parts_of(exchange.chunks(piece), len(orders), number), channel=number)
            for piece in range(exchange.pieces)
            for number, order in enumerate(orders)
        ],
    )
