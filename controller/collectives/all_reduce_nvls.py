"""all_reduce in the switch as NCCL's NVLS has it: over staging buffers, in a pipeline of four stages.

Paper: NVIDIA NCCL, src/device/all_reduce.h (NVLS, one node) and src/enqueue.cc; Hu et al., Demystifying NCCL,
    arXiv 2507.04786, on its stages.
Follows: user buffers are no multicast memory, so some warps copy every rank's data into its part of a registered buffer
    (scatter), others have the switch add it up and store the sum to all (reduce and broadcast), others copy it out
    again (gather); a loop of the data is in each stage at once. Copies run at the rate of the channels, not of the
    memory.
Differs: user buffers that were registered need no copies; that is in_switch_two_shot.
Checked by: tests/unit/controller/collectives/test_in_switch.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.in_switch import GATHER, SCATTER, STAGED, Stages, need_switch
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def nvls(call: Call) -> Plan:
    """Each piece of the data is one loop of the pipeline.

    Raises:
        BadCall: no switch between the ranks adds up this type, or none multiplies.
    """
    need_switch(call, "nvls", adds=True, copies=True)
    build = PlanBuilder(f"all_reduce nvls {call.count} {call.dtype}")
    ranks = range(call.world_size)
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    staged, summed = [call.scratch(rank) for rank in ranks], [call.scratch(rank, "summed") for rank in ranks]
    stages = Stages(build, STAGED)
    for whole_start, whole_stop in even_ranges(call.count, call.pieces):
        for rank in ranks:
            source, room = (part(view, whole_start, whole_stop) for view in (call.input(rank), staged[rank]))
            stages.copy(SCATTER, rank, source, room)
        chunks = even_ranges(whole_stop - whole_start, call.world_size, whole_start)
        for rank, (start, stop) in enumerate(chunks):
            stages.pull_sum(rank, [part(view, start, stop) for view in staged], part(summed[rank], start, stop))
        for rank, (start, stop) in enumerate(chunks):
            stages.push_all(rank, part(summed[rank], start, stop), [part(view, start, stop) for view in summed])
        for rank in ranks:
            room, target = (part(view, whole_start, whole_stop) for view in (summed[rank], call.output(rank)))
            stages.copy(GATHER, rank, room, target)
    return build.plan()
