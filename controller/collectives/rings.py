"""The two halves of every ring, for any order of the ranks and any part of the data.

Position k of a ring is rank ``ring[k]``; it sends to position k + 1. In step s of the first half position k sends the
chunk of position k - s - 1, to which every rank that it passes adds its own; after world_size - 1 steps each rank has
the sum of its own chunk. In step s of the second half position k sends the chunk of position k - s.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.call import part
from controller.plan.build import PlanBuilder
from controller.plan.ops import View
from controller.plan.ranges import Range


def ring_reduce(
    build: PlanBuilder,
    ring: Sequence[int],
    chunks: Sequence[Range],
    inputs: Sequence[View],
    scratch: Sequence[View],
    sums: Sequence[View],
    step: int,
) -> None:
    """Step number `step` of reducing: every rank sends one chunk, and reduces the one that it gets.

    Args:
        build: where ops are added.
        ring: ranks in order.
        chunks: range of elements that each rank will own; empty ones are not sent.
        inputs: of each rank, all elements.
        scratch: of each rank, room for all elements.
        sums: of each rank, room for its own chunk.
        step: from 0 to world_size - 2.
    """
    size = len(ring)
    for position, sender in enumerate(ring):
        receiver = ring[(position + 1) % size]
        owner = ring[(position - step - 1) % size]
        start, stop = chunks[owner]
        if start == stop:
            continue
        carried = inputs[sender] if step == 0 else scratch[sender]
        arrived = part(scratch[receiver], start, stop)
        build.transfer(part(carried, start, stop), arrived, label="reduce: send")
        total = sums[receiver] if owner == receiver else arrived
        build.kernel("reduce", total.buffer.device, [arrived, part(inputs[receiver], start, stop)], [total], kind="sum")


def ring_gather(
    build: PlanBuilder, ring: Sequence[int], chunks: Sequence[Range], outputs: Sequence[View], step: int
) -> None:
    """Step number `step` of gathering: every rank passes on the chunk that it got last.

    Args:
        build: where ops are added.
        ring: ranks in order.
        chunks: range of elements that each rank owns; empty ones are not sent.
        outputs: of each rank, all elements, its own chunk already there.
        step: from 0 to world_size - 2.
    """
    size = len(ring)
    for position, sender in enumerate(ring):
        receiver = ring[(position + 1) % size]
        start, stop = chunks[ring[(position - step) % size]]
        if start < stop:
            build.transfer(
                part(outputs[sender], start, stop), part(outputs[receiver], start, stop), label="gather: send"
            )


def copy_own(build: PlanBuilder, source: View, destination: View) -> None:
    """Brings a rank's own data from its input to its output, unless they are the same bytes or none."""
    if source != destination and source.shape != (0,):
        build.transfer(source, destination, label="copy")
