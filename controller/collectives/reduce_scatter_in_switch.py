"""reduce_scatter in the switch: each rank reads the sum of its chunk.

Paper: Klenk, Jiang, Thorson and Dennison, An in-network architecture for accelerating shared-memory multiprocessor
    collectives, ISCA 2020.
Follows: every uplink carries all data, every downlink 1/n of it, in one step.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_in_switch.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.in_switch import Stages, need_switch
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan


def in_switch(call: Call) -> Plan:
    """One read of the switch for every rank and piece.

    Raises:
        BadCall: no switch between the ranks adds up this type.
    """
    need_switch(call, "in_switch", adds=True, copies=False)
    build = PlanBuilder(f"reduce_scatter in-switch {call.count} {call.dtype}")
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    inputs = [call.input(rank) for rank in range(call.world_size)]
    offsets = [start for start, _ in call.whole_chunks()]
    stages = Stages(build)
    for piece in range(call.pieces):
        for rank, (start, stop) in enumerate(call.chunks(piece)):
            target = part(call.output(rank), start - offsets[rank], stop - offsets[rank])
            stages.pull_sum(rank, [part(view, start, stop) for view in inputs], target)
    return build.plan()
