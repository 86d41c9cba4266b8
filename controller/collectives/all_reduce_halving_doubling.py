"""all_reduce by recursive halving and doubling.

Paper: Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH, IJHPCA 19(1),
    2005.
Follows: with p ranks, p a power of two, log2 p exchanges with partners at halving distance, each of half of what is
    left, leave every rank with the sum of 1/p; as many exchanges back gather it. With other numbers, the first ranks
    are folded in pairs before and unfolded after.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.folding import folding
from controller.plan.ops import View
from controller.plan.ranges import Range, even_ranges

DOUBLING = 1
"""Channel of the second half, so that the next piece need not wait with its first half for the second one of this."""


def halving_doubling(exchange: Exchange) -> None:
    """Partners differ in one bit of their index, the highest first."""
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
    else:
        for number, piece in enumerate(even_ranges(exchange.count, exchange.pieces)):
            if piece[0] < piece[1]:
                _emit(exchange, piece, number)


def _emit(exchange: Exchange, whole: Range, number: int) -> None:
    active, folded = folding(exchange.world_size)
    power = len(active)
    values = {rank: part(exchange.inputs[rank], *whole) for rank in range(exchange.world_size)}
    outputs = {rank: part(exchange.outputs[rank], *whole) for rank in range(exchange.world_size)}
    for away, stays in folded:
        room = part(exchange.scratch(stays, "folded"), *whole)
        exchange.send(values[away], room, "fold: send")
        exchange.add(stays, [values[stays], room], outputs[stays])
        values[stays] = outputs[stays]
    size = whole[1] - whole[0]
    held: dict[int, Range] = dict.fromkeys(active, (0, size))
    used = dict.fromkeys(active, 0)
    # The larger half of an odd range, at every halving, may come to one element more than the range.
    elements = size + power.bit_length()
    rooms = {rank: exchange.scratch(rank, f"scratch{number}", elements) for rank in active}
    masks = [1 << bit for bit in reversed(range(power.bit_length() - 1))]
    for mask in masks:
        halves = {rank: _halves(held[rank], index & mask) for index, rank in enumerate(active)}
        for index, rank in enumerate(active):
            partner = active[index ^ mask]
            kept = halves[partner][0]
            if kept[0] < kept[1]:
                room = _room(rooms[partner], used[partner], kept)
                exchange.send(part(values[rank], *kept), room, "halve: send")
        for rank in active:
            kept = halves[rank][0]
            if kept[0] < kept[1]:
                room = _room(rooms[rank], used[rank], kept)
                total = part(outputs[rank], *kept)
                exchange.add(rank, [room, part(values[rank], *kept)], total)
            used[rank] += kept[1] - kept[0]
            held[rank], values[rank] = kept, outputs[rank]
    for mask in reversed(masks):
        for index, rank in enumerate(active):
            start, stop = held[rank]
            if start < stop:
                partner = active[index ^ mask]
                known, unknown = part(outputs[rank], start, stop), part(outputs[partner], start, stop)
                exchange.send(known, unknown, "double: send", channel=DOUBLING)
        ranges = dict(held)
        for index, rank in enumerate(active):
            other = ranges[active[index ^ mask]]
            held[rank] = min(ranges[rank][0], other[0]), max(ranges[rank][1], other[1])
    for away, stays in folded:
        exchange.send(outputs[stays], outputs[away], "unfold: send", channel=DOUBLING)


def _halves(held: Range, upper: int) -> tuple[Range, Range]:
    """What a rank keeps of its range, and what it sends."""
    first, second = even_ranges(held[1] - held[0], 2, held[0])
    return (second, first) if upper else (first, second)


def _room(scratch: View, used: int, kept: Range) -> View:
    """Where a half arrives: behind the earlier ones, so that no exchange waits for room."""
    return part(scratch, used, used + kept[1] - kept[0])
