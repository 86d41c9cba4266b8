"""reduce_scatter over one ring.

Paper: Patarasuk and Yuan, JPDC 69(2), 2009: the first half of their all-reduce.
Follows: n - 1 steps of 1/n of the data each, to the next rank.
Differs: see `all_reduce_ring`.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own, ring_reduce
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan


def ring(call: Call) -> Plan:
    """All ranks in order."""
    build = PlanBuilder(f"reduce_scatter ring {call.count} {call.dtype}")
    ranks = range(call.world_size)
    inputs, outputs = [call.input(rank) for rank in ranks], [call.output(rank) for rank in ranks]
    if call.world_size == 1:
        copy_own(build, inputs[0], outputs[0])
        return build.plan()
    scratch = [call.scratch(rank) for rank in ranks]
    base = [start for start, _ in call.whole_chunks()]
    for step in range(call.world_size - 1):
        for piece in range(call.pieces):
            chunks = call.chunks(piece)
            sums = [part(outputs[rank], chunks[rank][0] - base[rank], chunks[rank][1] - base[rank]) for rank in ranks]
            ring_reduce(build, ranks, chunks, inputs, scratch, sums, step)
    return build.plan()
