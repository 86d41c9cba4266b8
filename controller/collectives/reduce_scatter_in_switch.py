"""reduce_scatter in the switch: each rank reads the sum of its chunk.

Paper: Klenk, Jiang, Thorson and Dennison, An in-network architecture for accelerating shared-memory multiprocessor
    collectives, ISCA 2020.
Follows: every uplink carries all data, every downlink 1/n of it, in one step.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_in_switch.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.in_switch import Stages, need_switch


def in_switch(exchange: Exchange) -> None:
    """One read of the switch for every rank and piece.

    Raises:
        BadCall: no switch between the ranks adds up this type.
    """
    need_switch(exchange, "in_switch", adds=True, copies=False)
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    offsets = [start for start, _ in exchange.whole_chunks()]
    stages = Stages(exchange)
    for piece in range(exchange.pieces):
        for rank, (start, stop) in enumerate(exchange.chunks(piece)):
            target = part(exchange.outputs[rank], start - offsets[rank], stop - offsets[rank])
            stages.pull_sum(rank, [part(view, start, stop) for view in exchange.inputs], target)
