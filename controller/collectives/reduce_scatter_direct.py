"""reduce_scatter with every chunk sent to its owner at once.

Paper: Chan et al., Collective communication: theory, practice, and experience, CCPE 19(13), 2007: the direct exchange
    of all blocks, on a network where everybody reaches everybody.
Follows: one step: rank r sends chunk j to rank j, beginning with that of rank r + 1, and adds what it gets in one go.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import even_ranges


def direct(call: Call) -> Plan:
    """Every rank to every other, without an order; pieces are added as they come."""
    build = PlanBuilder(f"reduce_scatter direct {call.count} {call.dtype}")
    size = call.world_size
    if size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    chunks = call.whole_chunks()
    rooms = {
        (rank, peer): call.scratch(rank, f"from{peer}", chunks[rank][1] - chunks[rank][0])
        for rank in range(size)
        for peer in range(size)
        if peer != rank and chunks[rank][0] < chunks[rank][1]
    }
    for piece in range(call.pieces):
        cut = [even_ranges(stop - start, call.pieces)[piece] for start, stop in chunks]
        for distance in range(1, size):
            for rank in range(size):
                owner = (rank + distance) % size
                low, high = cut[owner]
                if low < high:
                    first = chunks[owner][0]
                    source = part(call.input(rank), first + low, first + high)
                    build.transfer(source, part(rooms[owner, rank], low, high), label="reduce: send")
        for rank in range(size):
            low, high = cut[rank]
            if low < high:
                own = part(call.input(rank), chunks[rank][0] + low, chunks[rank][0] + high)
                arrived = [part(rooms[rank, (rank - distance) % size], low, high) for distance in range(1, size)]
                total = part(call.output(rank), low, high)
                build.kernel("reduce", own.buffer.device, [own, *arrived], [total], kind="sum")
    return build.plan()
