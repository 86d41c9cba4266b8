"""all_reduce over two rings of opposite direction, half of the data each.

Paper: Chan, Heimlich, Purkayastha and van de Geijn, Collective communication: theory, practice, and experience, CCPE
    19(13), 2007: bidirectional buckets on links that carry both directions at once.
Follows: the first half of every chunk goes round upwards, the second half downwards.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.all_reduce_ring import emit_rings
from controller.collectives.call import Call
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan
from controller.plan.ranges import Range, even_ranges


def bidirectional_ring(call: Call) -> Plan:
    """All ranks in order for one half, in reverse order for the other."""
    build = PlanBuilder(f"all_reduce bidirectional ring {call.count} {call.dtype}")
    up, down = range(call.world_size), range(call.world_size - 1, -1, -1)
    rings: list[tuple[range, tuple[Range, ...]]] = []
    for piece in range(call.pieces):
        halves = [even_ranges(stop - start, 2, start) for start, stop in call.chunks(piece)]
        rings += [(up, tuple(first for first, _ in halves)), (down, tuple(second for _, second in halves))]
    emit_rings(build, call, rings)
    return build.plan()
