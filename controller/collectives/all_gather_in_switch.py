"""all_gather in the switch: each rank stores its chunk once, and it arrives everywhere.

Paper: Klenk, Jiang, Thorson and Dennison, An in-network architecture for accelerating shared-memory multiprocessor
    collectives, ISCA 2020.
Follows: every uplink carries 1/n of the data, every downlink all of it, the own chunk too, in one step.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_in_switch.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.in_switch import Stages, need_switch


def in_switch(exchange: Exchange) -> None:
    """One store through the switch for every rank and piece.

    Raises:
        BadCall: no switch between the ranks has multicast.
    """
    need_switch(exchange, "in_switch", adds=False, copies=True)
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    ranks = range(exchange.world_size)
    offsets = [start for start, _ in exchange.whole_chunks()]
    stages = Stages(exchange)
    for piece in range(exchange.pieces):
        for rank, (start, stop) in enumerate(exchange.chunks(piece)):
            source = part(exchange.inputs[rank], start - offsets[rank], stop - offsets[rank])
            stages.push_all(rank, source, [part(exchange.outputs[other], start, stop) for other in ranks])
