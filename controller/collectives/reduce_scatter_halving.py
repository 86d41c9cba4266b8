"""reduce_scatter by recursive halving.

Paper: Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH, IJHPCA 19(1),
    2005.
Follows: with p ranks, p a power of two, log2 p exchanges with partners at halving distance, each of half of what is
    left. With other numbers the first ranks are folded in pairs before, and get their chunk at the end.
Differs: nothing.
Checked by: tests/unit/controller/collectives/test_alpha_beta.py, the conformance suite.
"""

from __future__ import annotations

from controller.collectives.call import Call, part
from controller.collectives.folding import folding
from controller.collectives.rings import copy_own
from controller.plan.build import PlanBuilder
from controller.plan.ops import Plan, View
from controller.plan.ranges import Range


def halving(call: Call) -> Plan:
    """Partners differ in one bit of their index, the highest first."""
    build = PlanBuilder(f"reduce_scatter halving {call.count} {call.dtype}")
    if call.world_size == 1:
        copy_own(build, call.input(0), call.output(0))
        return build.plan()
    active, folded = folding(call.world_size)
    chunks = call.whole_chunks()
    # Of each rank that exchanges: what it holds the partial sum of, and where that lies (view, its first element).
    held: dict[int, tuple[View, int]] = {rank: (call.input(rank), 0) for rank in active}
    for away, stays in folded:
        room = call.scratch(stays, "folded")
        build.transfer(call.input(away), room, label="fold: send")
        build.kernel("reduce", room.buffer.device, [call.input(stays), room], [room], kind="sum")
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
        rooms = {rank: call.scratch(rank, f"half{mask}", stop - start) for rank, (start, stop) in kept.items()}
        for index, rank in enumerate(active):
            partner = active[index ^ mask]
            start, stop = kept[partner]
            if start < stop:
                build.transfer(_of(held[rank], start, stop), rooms[partner], label="halve: send")
        for rank in active:
            start, stop = kept[rank]
            if start < stop:
                room = rooms[rank]
                total = call.output(rank) if mask == 1 and rank not in leavers else room
                build.kernel("reduce", room.buffer.device, [room, _of(held[rank], start, stop)], [total], kind="sum")
            held[rank], spans[rank] = (rooms[rank], start), half[rank]
        mask >>= 1
    for away, stays in folded:
        for rank in (away, stays):
            start, stop = chunks[rank]
            if start < stop:
                label = "unfold: send" if rank == away else "copy"
                build.transfer(_of(held[stays], start, stop), call.output(rank), label=label)
    return build.plan()


def _half(span: Range, upper: int) -> Range:
    middle = (span[0] + span[1]) // 2
    return (middle, span[1]) if upper else (span[0], middle)


def _of(held: tuple[View, int], start: int, stop: int) -> View:
    """Elements ``start:stop`` of the whole, where they lie."""
    view, first = held
    return part(view, start - first, stop - first)
