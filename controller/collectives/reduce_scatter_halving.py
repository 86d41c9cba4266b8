"""reduce_scatter by recursive halving.

Paper: Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH, IJHPCA 19(1),
    2005.
Follows: with p ranks, p a power of two, log2 p exchanges with partners at halving distance, each of half of what is
    left. With other numbers the first ranks are folded in pairs before, and get their chunk at the end.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.exchange import Exchange, part
from controller.collectives.folding import folding
from controller.plan.ops import View
from controller.plan.ranges import Range


def halving(exchange: Exchange) -> None:
    """Partners differ in one bit of their index, the highest first."""
    if exchange.world_size == 1:
        exchange.copy_own(exchange.inputs[0], exchange.outputs[0])
        return
    active, folded = folding(exchange.world_size)
    chunks = exchange.whole_chunks()
    # Of each rank that exchanges: what it holds the partial sum of, and where that lies (view, its first element).
    held: dict[int, tuple[View, int]] = {rank: (exchange.inputs[rank], 0) for rank in active}
    for away, stays in folded:
        room = exchange.scratch(stays, "folded")
        exchange.send(exchange.inputs[away], room, "fold: send")
        exchange.add(stays, [exchange.inputs[stays], room], room)
        held[stays] = (room, 0)
    leavers = {stays: away for away, stays in folded}
    first = {rank: chunks[rank][0] for rank in active}
    last = {rank: chunks[leavers.get(rank, rank)][1] for rank in active}
    spans = {rank: (0, len(active)) for rank in active}
    mask = len(active) >> 1
    while mask:
        half = {rank: _half(spans[rank], index & mask) for index, rank in enumerate(active)}
        kept: dict[int, Range] = {
            rank: (first[active[low]], last[active[high - 1]]) for rank, (low, high) in half.items()
        }
        rooms = {rank: exchange.scratch(rank, f"half{mask}", stop - start) for rank, (start, stop) in kept.items()}
        for index, rank in enumerate(active):
            partner = active[index ^ mask]
            start, stop = kept[partner]
            if start < stop:
                exchange.send(_of(held[rank], start, stop), rooms[partner], "halve: send")
        for rank in active:
            start, stop = kept[rank]
            if start < stop:
                room = rooms[rank]
                total = exchange.outputs[rank] if mask == 1 and rank not in leavers else room
                exchange.add(rank, [room, _of(held[rank], start, stop)], total)
            held[rank], spans[rank] = (rooms[rank], start), half[rank]
        mask >>= 1
    for away, stays in folded:
        start, stop = chunks[away]
        if start < stop:
            exchange.send(_of(held[stays], start, stop), exchange.outputs[away], "unfold: send")
        start, stop = chunks[stays]
        if start < stop:
            exchange.copy(_of(held[stays], start, stop), exchange.outputs[stays])


def _half(span: Range, upper: int) -> Range:
    middle = (span[0] + span[1]) // 2
    return (middle, span[1]) if upper else (span[0], middle)


def _of(held: tuple[View, int], start: int, stop: int) -> View:
    """Elements ``start:stop`` of the whole, where they lie."""
    view, first = held
    return part(view, start - first, stop - first)
