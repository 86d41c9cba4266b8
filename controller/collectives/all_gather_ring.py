"""all_gather over one ring.

Paper: Chan et al., CCPE 19(13), 2007: the bucket algorithm.
Follows: n - 1 steps of 1/n of the data each, to the next rank.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own, ring_gather
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan


def ring(call: Call) -> Plan:
    """All ranks in order."""
    build = PlanBuilder(f"all_gather ring {call.count} {call.dtype}")
    ranks = range(call.world_size)
    outputs = [call.output(rank) for rank in ranks]
    for rank, (start, stop) in enumerate(call.whole_chunks()):
        copy_own(build, call.input(rank), part(outputs[rank], start, stop))
    for step in range(call.world_size - 1):
        for piece in range(call.pieces):
            ring_gather(build, ranks, call.chunks(piece), outputs, step)
    return build.plan()
