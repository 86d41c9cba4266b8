"""The two halves of every ring, for any order of the ranks and any part of the data.

Position k of a ring is rank ``ring[k]``; it sends to position k + 1. In step s of the first half position k sends the
chunk of position k - s - 1, to which every rank that it passes adds its own; after world_size - 1 steps each rank has
the sum of its own chunk. In step s of the second half position k sends the chunk of position k - s.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.collectives.exchange import Exchange, part
from controller.plan.ops import View
from controller.plan.ranges import Range


def ring_reduce(
    exchange: Exchange,
    ring: Sequence[int],
    chunks: Sequence[Range],
    inputs: Sequence[View],
    scratch: Sequence[View],
    sums: Sequence[View],
    step: int,
    channel: int = 0,
) -> None:
    """Step number `step` of reducing: every rank sends one chunk, and reduces the one that it gets.

    Args:
        exchange: the collective.
        ring: ranks in order.
        chunks: range of elements that each rank will own; empty ones are not sent.
        inputs: of each rank, all elements.
        scratch: of each rank, room for all elements.
        sums: of each rank, room for its own chunk.
        step: from 0 to world_size - 2.
        channel: of the messages.
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
        exchange.send(part(carried, start, stop), arrived, "reduce: send", channel=channel)
        is_own = owner == receiver
        passes = is_own and exchange.software.own_bytes_per_s > 0
        total = sums[receiver] if is_own and not passes else arrived
        exchange.add(receiver, [arrived, part(inputs[receiver], start, stop)], total)
        if passes:
            exchange.store_own(arrived, sums[receiver])


def ring_gather(
    exchange: Exchange,
    ring: Sequence[int],
    chunks: Sequence[Range],
    outputs: Sequence[View],
    step: int,
    channel: int = 0,
) -> None:
    """Step number `step` of gathering: every rank passes on the chunk that it got last.

    Args:
        exchange: the collective.
        ring: ranks in order.
        chunks: range of elements that each rank owns; empty ones are not sent.
        outputs: of each rank, all elements, its own chunk already there.
        step: from 0 to world_size - 2.
        channel: of the messages.
    """
    size = len(ring)
    for position, sender in enumerate(ring):
        receiver = ring[(position + 1) % size]
        start, stop = chunks[ring[(position - step) % size]]
        if start < stop:
            source, target = part(outputs[sender], start, stop), part(outputs[receiver], start, stop)
            exchange.send(source, target, "gather: send", channel=channel)
