"""Two binary heaps with known positions: the calendar of what happens next, and one small heap per group of flows.

Entries with equal keys never pass each other, so that pushing or popping one of many simultaneous events takes constant
time: in lockstep a heap costs no more than a list.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from controller.engine.compiled import NOWHERE, ZERO, compiled, wide


@compiled
def set_place(flow: NDArray[Any], resource: NDArray[Any], item: int, position: int) -> None:
    """Note where in the calendar a flow (item) or the group of a resource (~item) lies."""
    if item >= 0:
        flow[item].position = position
    else:
        resource[~item].position = position


@compiled
def calendar_up(
    calendar: NDArray[Any], flow: NDArray[Any], resource: NDArray[Any], hole: int, time: float, item: int
) -> None:
    """Put an entry at `hole` or above it."""
    while hole > 0:
        parent = (hole - 1) >> 1
        if calendar[parent].key <= time:
            break
        moved = wide(calendar[parent].item)
        calendar[hole].key = calendar[parent].key
        calendar[hole].item = moved
        set_place(flow, resource, moved, hole)
        hole = parent
    calendar[hole].key = time
    calendar[hole].item = item
    set_place(flow, resource, item, hole)


@compiled
def calendar_down(
    calendar: NDArray[Any],
    count: int,
    flow: NDArray[Any],
    resource: NDArray[Any],
    hole: int,
    time: float,
    item: int,
) -> None:
    """Put an entry at `hole` or below it."""
    while True:
        child = 2 * hole + 1
        if child >= count:
            break
        if child + 1 < count and calendar[child + 1].key < calendar[child].key:
            child += 1
        if calendar[child].key >= time:
            break
        moved = wide(calendar[child].item)
        calendar[hole].key = calendar[child].key
        calendar[hole].item = moved
        set_place(flow, resource, moved, hole)
        hole = child
    calendar[hole].key = time
    calendar[hole].item = item
    set_place(flow, resource, item, hole)


@compiled
def calendar_put(
    state: NDArray[Any],
    calendar: NDArray[Any],
    flow: NDArray[Any],
    resource: NDArray[Any],
    position: int,
    time: float,
    item: int,
) -> None:
    """Enter something (position -1), or give the entry at `position` another time."""
    if position < 0:
        position = state[0].calendar_count
        state[0].calendar_count = position + 1
        calendar_up(calendar, flow, resource, position, time, item)
    elif time <= calendar[position].key:
        calendar_up(calendar, flow, resource, position, time, item)
    else:
        calendar_down(calendar, state[0].calendar_count, flow, resource, position, time, item)


@compiled
def calendar_remove(
    state: NDArray[Any], calendar: NDArray[Any], flow: NDArray[Any], resource: NDArray[Any], position: int
) -> None:
    """Take out the entry at `position`."""
    set_place(flow, resource, wide(calendar[position].item), NOWHERE)
    last = state[0].calendar_count - 1
    state[0].calendar_count = last
    if position < last:
        calendar_put(state, calendar, flow, resource, position, calendar[last].key, wide(calendar[last].item))


@compiled
def group_up(ranked: NDArray[Any], base: int, flow: NDArray[Any], hole: int, key: float, item: int) -> None:
    """Put a flow at `hole` of its group or above it."""
    while hole > 0:
        parent = (hole - 1) >> 1
        if ranked[base + parent].key <= key:
            break
        moved = wide(ranked[base + parent].item)
        ranked[base + hole].key = ranked[base + parent].key
        ranked[base + hole].item = moved
        flow[moved].position = hole
        hole = parent
    ranked[base + hole].key = key
    ranked[base + hole].item = item
    flow[item].position = hole


@compiled
def group_down(
    ranked: NDArray[Any], base: int, count: int, flow: NDArray[Any], hole: int, key: float, item: int
) -> None:
    """Put a flow at `hole` of its group or below it."""
    while True:
        child = 2 * hole + 1
        if child >= count:
            break
        if child + 1 < count and ranked[base + child + 1].key < ranked[base + child].key:
            child += 1
        if ranked[base + child].key >= key:
            break
        moved = wide(ranked[base + child].item)
        ranked[base + hole].key = ranked[base + child].key
        ranked[base + hole].item = moved
        flow[moved].position = hole
        hole = child
    ranked[base + hole].key = key
    ranked[base + hole].item = item
    flow[item].position = hole


@compiled
def group_push(
    ranked: NDArray[Any], flow: NDArray[Any], resource: NDArray[Any], group: int, key: float, item: int
) -> None:
    """Add a flow to the group of a resource."""
    count = wide(resource[group].group_count)
    resource[group].group_count = count + 1
    group_up(ranked, wide(resource[group].segment), flow, count, key, item)


@compiled
def group_remove(ranked: NDArray[Any], flow: NDArray[Any], resource: NDArray[Any], group: int, position: int) -> None:
    """Take the flow at `position` out of the group of a resource."""
    base = wide(resource[group].segment)
    last = wide(resource[group].group_count) - 1
    resource[group].group_count = last
    if position < last:
        key = ranked[base + last].key
        item = wide(ranked[base + last].item)
        if position > 0 and key < ranked[base + ((position - 1) >> 1)].key:
            group_up(ranked, base, flow, position, key, item)
        else:
            group_down(ranked, base, last, flow, position, key, item)


@compiled
def fill_down(heap: NDArray[Any], count: int, hole: int, key: float, item: int) -> None:
    """Put an entry at `hole` of a heap without positions, or below it."""
    while True:
        child = 2 * hole + 1
        if child >= count:
            break
        if child + 1 < count and heap[child + 1].key < heap[child].key:
            child += 1
        if heap[child].key >= key:
            break
        heap[hole].key = heap[child].key
        heap[hole].item = heap[child].item
        hole = child
    heap[hole].key = key
    heap[hole].item = item


@compiled
def fill_order(heap: NDArray[Any], count: int) -> None:
    """Make a heap of entries in any order."""
    for hole in range((count >> 1) - 1, -1, -1):
        fill_down(heap, count, hole, heap[hole].key, wide(heap[hole].item))


@compiled
def fill_pop(heap: NDArray[Any], count: int) -> int:
    """Drop the first entry; returns how many are left."""
    count -= 1
    if count > 0:
        fill_down(heap, count, ZERO, heap[count].key, wide(heap[count].item))
    return count
