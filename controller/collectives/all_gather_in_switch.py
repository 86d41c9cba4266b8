"""all_gather in the switch: each rank stores its chunk once, and it arrives everywhere.

Paper: Klenk, Jiang, Thorson and Dennison, An in-network architecture for accelerating shared-memory multiprocessor
    collectives, ISCA 2020.
Follows: every uplink carries 1/n of the data, every downlink all of it, the own chunk too, in one step.
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
    """One store through the switch for every rank and piece.

    Raises:
        BadCall: no switch between the ranks has multicast.
    """
    need_switch(call, "in_switch", adds=False, copies=True)
    build = PlanBuilder(f"all_gather in-switch {call.count} {call.dtype}")
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    ranks = range(call.world_size)
    offsets = [start for start, _ in call.whole_chunks()]
    stages = Stages(build)
    for piece in range(call.pieces):
        for rank, (start, stop) in enumerate(call.chunks(piece)):
            source = part(call.input(rank), start - offsets[rank], stop - offsets[rank])
            stages.push_all(rank, source, [part(call.output(other), start, stop) for other in ranks])
    return build.plan()
