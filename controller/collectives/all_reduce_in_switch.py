"""all_reduce in the switch: each rank reads the sum of its chunk and stores it to all (two-shot), or of all (one-shot).

Paper: Klenk, Jiang, Thorson and Dennison, An in-network architecture for accelerating shared-memory multiprocessor
    collectives, ISCA 2020: reductions pulled and multicasts pushed through the switch of NVLink.
Follows: the two-shot form moves S + S/n over each link either way, whatever n is, where a ring moves 2 S (n - 1) / n;
    the one-shot form has every rank read the whole sum, so each uplink carries n S and each downlink S, for one step
    less.
Differs: a rank has eight pieces of a stage on their way at most, where threads go on one by one.
Checked by: tests/unit/controller/collectives/test_in_switch.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.in_switch import Stages, need_switch
from controller.plan.ranges import even_ranges


def two_shot(exchange: Exchange) -> None:
    """Reduce-scatter by the switch, then all-gather by multicast.

    Raises:
        BadCall: no switch between the ranks adds up this type, or none multiplies.
    """
    need_switch(exchange, "in_switch_two_shot", adds=True, copies=True)
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    inputs, outputs = exchange.inputs, exchange.outputs
    stages = Stages(exchange)
    for piece in range(exchange.pieces):
        for rank, (start, stop) in enumerate(exchange.chunks(piece)):
            stages.pull_sum(rank, [part(view, start, stop) for view in inputs], part(outputs[rank], start, stop))
        for rank, (start, stop) in enumerate(exchange.chunks(piece)):
            stages.push_all(rank, part(outputs[rank], start, stop), [part(view, start, stop) for view in outputs])


def one_shot(exchange: Exchange) -> None:
    """Every rank reads the sum of everything.

    In place a rank would overwrite what others still read, so sums then pass a scratch buffer.

    Raises:
        BadCall: no switch between the ranks adds up this type.
    """
    need_switch(exchange, "in_switch_one_shot", adds=True, copies=False)
    ranks = range(exchange.world_size)
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    stages = Stages(exchange)
    for start, stop in even_ranges(exchange.count, exchange.pieces):
        sources = [part(view, start, stop) for view in exchange.inputs]
        targets = [exchange.scratch(rank) for rank in ranks] if exchange.in_place else exchange.outputs
        sums = [part(view, start, stop) for view in targets]
        for rank, total in enumerate(sums):
            stages.pull_sum(rank, sources, total)
        if exchange.in_place and start < stop:
            for rank in ranks:
                exchange.copy(sums[rank], part(exchange.outputs[rank], start, stop))
