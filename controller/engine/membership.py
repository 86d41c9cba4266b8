"""Who flows through which resource, and whose rate is frozen by which: joining and leaving, and room for it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from controller.engine.compiled import NOWHERE, compiled, wide
from controller.engine.heaps import calendar_put, calendar_remove, group_push, group_remove
from controller.engine.records import HOT, JOINED, LEFT, LIMITED, NEW, UNTOUCHED

# A flow that joins a group whose virtual clock has run this many times longer than the flow itself will take sets the
# clock back to zero first: keys keep 43 of their 53 bits for what the flow has to do.
RESET_RATIO = 1024.0


@compiled
def reserve(
    state: NDArray[Any],
    resource: NDArray[Any],
    member: NDArray[Any],
    ranked: NDArray[Any],
    free_segment: NDArray[Any],
    load: NDArray[Any],
    load_start: int,
    load_end: int,
) -> bool:
    """Make room for one more flow among the members of everything it loads; False when the pools are full."""
    for e in range(load_start, load_end):
        r = wide(load[e].resource)
        # Enough even if every load of the flow is on this resource.
        wanted = resource[r].member_count + (load_end - load_start)
        size = resource[r].segment_size
        if wanted <= size:
            continue
        new_size = 8
        size_class = 3
        while new_size < wanted:
            new_size *= 2
            size_class += 1
        segment = free_segment[size_class]
        if segment >= 0:
            free_segment[size_class] = member[segment].flow
        else:
            segment = state[0].member_used
            if segment + new_size > len(member):
                state[0].wanted = new_size
                return False
            state[0].member_used = segment + new_size
        old = wide(resource[r].segment)
        for i in range(resource[r].member_count):
            member[segment + i].weight = member[old + i].weight
            member[segment + i].flow = member[old + i].flow
            member[segment + i].load = member[old + i].load
        for i in range(resource[r].group_count):
            ranked[segment + i].key = ranked[old + i].key
            ranked[segment + i].item = ranked[old + i].item
        if size > 0:
            old_class = 3
            while (1 << old_class) < size:
                old_class += 1
            member[old].flow = free_segment[old_class]
            free_segment[old_class] = old
        resource[r].segment = segment
        resource[r].segment_size = new_size
    return True


@compiled
def touch(
    state: NDArray[Any], resource: NDArray[Any], tally: NDArray[Any], touched: NDArray[Any], r: int, how: int
) -> None:
    """Note that a resource has to be looked at by the next solve."""
    if resource[r].touched == UNTOUCHED:
        touched[state[0].touched_count] = r
        state[0].touched_count += 1
    if how > resource[r].touched:
        resource[r].touched = how
    if how >= JOINED:
        tally[r].mark = HOT


@compiled
def set_clock(state: NDArray[Any], resource: NDArray[Any], r: int) -> None:
    """Bring the virtual clock of a group to the present."""
    now = state[0].now
    if resource[r].group_count > 0:
        resource[r].virtual += resource[r].level * (now - resource[r].virtual_at)
    else:
        resource[r].virtual = 0.0
    resource[r].virtual_at = now


@compiled
def join_members(
    state: NDArray[Any],
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    touched: NDArray[Any],
    f: int,
) -> None:
    """Enter a flow among the members of everything it loads. A load of weight zero takes nothing and is none."""
    for e in range(flow[f].load_start, flow[f].load_end):
        weight = load[e].weight
        if weight > 0.0:
            r = wide(load[e].resource)
            count = wide(resource[r].member_count)
            m = resource[r].segment + count
            member[m].weight = weight
            member[m].flow = f
            member[m].load = e
            load[e].position = count
            resource[r].member_count = count + 1
            touch(state, resource, tally, touched, r, wide(JOINED))


@compiled
def leave_members(
    state: NDArray[Any],
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    touched: NDArray[Any],
    f: int,
) -> None:
    """Take a flow out of the members of everything it loads."""
    for e in range(flow[f].load_start, flow[f].load_end):
        weight = load[e].weight
        if weight > 0.0:
            r = wide(load[e].resource)
            count = resource[r].member_count - 1
            position = wide(load[e].position)
            resource[r].member_count = count
            if position < count:
                m = resource[r].segment + position
                last = resource[r].segment + count
                member[m].weight = member[last].weight
                member[m].flow = member[last].flow
                member[m].load = member[last].load
                load[member[m].load].position = position
            if count > 0:
                resource[r].used -= weight * flow[f].rate
            else:
                resource[r].used = 0.0
            touch(state, resource, tally, touched, r, wide(LEFT))


@compiled
def leave_group(
    state: NDArray[Any],
    resource: NDArray[Any],
    flow: NDArray[Any],
    ranked: NDArray[Any],
    calendar: NDArray[Any],
    f: int,
) -> float:
    """Take a flow out of its group, or of the calendar; returns the work that is left."""
    group = wide(flow[f].group)
    if group == NEW:
        return float(flow[f].key)
    if group == LIMITED:
        calendar_remove(state, calendar, flow, resource, wide(flow[f].position))
        return float(max(flow[f].key - state[0].now, 0.0) * flow[f].rate_limit)
    set_clock(state, resource, group)
    group_remove(ranked, flow, resource, group, wide(flow[f].position))
    resource[group].stale = 1
    return float(max(flow[f].key - resource[group].virtual, 0.0))


@compiled
def join_group(
    state: NDArray[Any],
    resource: NDArray[Any],
    flow: NDArray[Any],
    ranked: NDArray[Any],
    calendar: NDArray[Any],
    f: int,
    group: int,
    left: float,
) -> None:
    """Enter a flow with that much work left into a group, or into the calendar if its own limit freezes it."""
    flow[f].group = group
    if group == LIMITED:
        end = state[0].now + left / flow[f].rate_limit
        flow[f].key = end
        calendar_put(state, calendar, flow, resource, NOWHERE, end, f)
        return
    set_clock(state, resource, group)
    resource[group].stale = 1
    if resource[group].virtual > RESET_RATIO * left:
        base = wide(resource[group].segment)
        past = resource[group].virtual
        for i in range(resource[group].group_count):
            ranked[base + i].key -= past
            flow[ranked[base + i].item].key -= past
        resource[group].virtual = 0.0
    key = resource[group].virtual + left
    flow[f].key = key
    group_push(ranked, flow, resource, group, key, f)
