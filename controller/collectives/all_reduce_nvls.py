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

from controller.collectives.exchange import Exchange, part
from controller.collectives.in_switch import GATHER, SCATTER, STAGED, Stages, need_switch
from controller.plan.ranges import even_ranges


def nvls(exchange: Exchange) -> None:
    """Each piece of the data is one loop of the pipeline.

    Raises:
        BadCall: no switch between the ranks adds up this type, or none multiplies.
    """
    need_switch(exchange, "nvls", adds=True, copies=True)
    ranks = range(exchange.world_size)
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    staged, summed = [exchange.scratch(rank) for rank in ranks], [exchange.scratch(rank, "summed") for rank in ranks]
    stages = Stages(exchange, STAGED)
    for whole_start, whole_stop in even_ranges(exchange.count, exchange.pieces):
        for rank in ranks:
            source, room = (part(view, whole_start, whole_stop) for view in (exchange.inputs[rank], staged[rank]))
            stages.copy(SCATTER, rank, source, room)
        chunks = even_ranges(whole_stop - whole_start, exchange.world_size, whole_start)
        for rank, (start, stop) in enumerate(chunks):
            stages.pull_sum(rank, [part(view, start, stop) for view in staged], part(summed[rank], start, stop))
        for rank, (start, stop) in enumerate(chunks):
            stages.push_all(rank, part(summed[rank], start, stop), [part(view, start, stop) for view in summed])
        for rank in ranks:
            room, target = (part(view, whole_start, whole_stop) for view in (summed[rank], exchange.outputs[rank]))
            stages.copy(GATHER, rank, room, target)
