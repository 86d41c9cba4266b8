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

from controller.collectives.call import Call, part
from controller.collectives.in_switch import Stages, need_switch
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def two_shot(call: Call) -> Plan:
    """Reduce-scatter by the switch, then all-gather by multicast.

    Raises:
        BadCall: no switch between the ranks adds up this type, or none multiplies.
    """
    need_switch(call, "in_switch_two_shot", adds=True, copies=True)
    build = PlanBuilder(f"all_reduce in-switch two-shot {call.count} {call.dtype}")
    ranks = range(call.world_size)
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    inputs, outputs = [call.input(rank) for rank in ranks], [call.output(rank) for rank in ranks]
    stages = Stages(build)
    for piece in range(call.pieces):
        for rank, (start, stop) in enumerate(call.chunks(piece)):
            stages.pull_sum(rank, [part(view, start, stop) for view in inputs], part(outputs[rank], start, stop))
        for rank, (start, stop) in enumerate(call.chunks(piece)):
            stages.push_all(rank, part(outputs[rank], start, stop), [part(view, start, stop) for view in outputs])
    return build.plan()


def one_shot(call: Call) -> Plan:
    """Every rank reads the sum of everything.

    In place a rank would overwrite what others still read, so sums then pass a scratch buffer.

    Raises:
        BadCall: no switch between the ranks adds up this type.
    """
    need_switch(call, "in_switch_one_shot", adds=True, copies=False)
    build = PlanBuilder(f"all_reduce in-switch one-shot {call.count} {call.dtype}")
    ranks = range(call.world_size)
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    stages = Stages(build)
    for start, stop in even_ranges(call.count, call.pieces):
        sources = [part(call.input(rank), start, stop) for rank in ranks]
        sums = [part(call.scratch(rank) if call.in_place else call.output(rank), start, stop) for rank in ranks]
        for rank, total in enumerate(sums):
            stages.pull_sum(rank, sources, total)
        if call.in_place and start < stop:
            for rank in ranks:
                build.transfer(sums[rank], part(call.output(rank), start, stop), label="copy")
    return build.plan()
