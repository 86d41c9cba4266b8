"""all_reduce over one ring: reduce-scatter, then all-gather.

Paper: Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 69(2), 2009.
Follows: 2 (n - 1) steps of 1/n of the data each, to the next rank.
Differs: each chunk may be cut into pieces that go round independently; what arrives is kept in a scratch buffer as
    large as the data, where libraries reuse a small one.
Checked by: tests/golden/test_ring.py (timeline by hand), tests/unit/controller/collectives/test_alpha_beta.py,
    the conformance suite.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.call import Call, part
from controller.collectives.rings import copy_own, ring_gather, ring_reduce
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import Range


def ring(call: Call) -> Plan:
    """All ranks in order, all data one way round."""
    build = PlanBuilder(f"all_reduce ring {call.count} {call.dtype}")
    order = range(call.world_size)
    emit_rings(build, call, [(order, call.chunks(piece)) for piece in range(call.pieces)])
    return build.plan()


def emit_rings(build: PlanBuilder, call: Call, rings: Sequence[tuple[Sequence[int], tuple[Range, ...]]]) -> None:
    """all_reduce of several parts of the data, each over a ring of its own, step by step side by side."""
    ranks = range(call.world_size)
    inputs, outputs = [call.input(rank) for rank in ranks], [call.output(rank) for rank in ranks]
    if call.world_size == 1:
        copy_own(build, inputs[0], outputs[0])
        return
    scratch = [call.scratch(rank) for rank in ranks]
    for step in range(call.world_size - 1):
        for order, chunks in rings:
            sums = [part(outputs[rank], *chunks[rank]) for rank in ranks]
            ring_reduce(build, order, chunks, inputs, scratch, sums, step)
    for step in range(call.world_size - 1):
        for order, chunks in rings:
            ring_gather(build, order, chunks, outputs, step)
