"""Progressive filling of the picked flows, from zero up together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.engine.compiled import ZERO, compiled, wide
from controller.engine.heaps import fill_down, fill_order, fill_pop
from controller.engine.picking import SAME_LEVEL, sum_used
from controller.engine.records import COLD, FIXED, FROZEN, INSIDE, LIMITED, OPEN, VISITED

# Once that little is left of a resource, what is left is summed anew instead of subtracted.
CANCELLED = 1e-3


@compiled
def level_of(resource: NDArray[Any], tally: NDArray[Any], r: int) -> float:
    """Level at which a resource fills up, if nothing but itself stops its open members."""
    # Rounding may leave a crumb of a resource that has failed, and nothing may flow on a crumb.
    if resource[r].capacity == 0.0:
        return 0.0
    return float(max(tally[r].left, 0.0) / tally[r].open_weight)


@compiled
def sum_left(resource: NDArray[Any], tally: NDArray[Any], flow: NDArray[Any], member: NDArray[Any], r: int) -> None:
    """Sum up anew what is left of a resource in the middle of a filling."""
    left = resource[r].capacity
    open_weight = 0.0
    base = wide(resource[r].segment)
    for m in range(base, base + resource[r].member_count):
        f = wide(member[m].flow)
        weight = member[m].weight
        mark = flow[f].mark
        if mark == OPEN:
            open_weight += weight
        elif mark == FROZEN:
            left -= weight * flow[f].next_rate
        else:
            left -= weight * flow[f].rate
    tally[r].left = left
    tally[r].open_weight = open_weight
    resource[r].full_weight = open_weight
    resource[r].summed_count = tally[r].open_count


@compiled
def fastest_fixed(
    resource: NDArray[Any], tally: NDArray[Any], flow: NDArray[Any], member: NDArray[Any], r: int
) -> float:
    """Highest rate of an unpicked member of a resource; tightens the bound that made somebody ask."""
    fixed = 0.0
    rival = 0.0
    base = wide(resource[r].segment)
    for m in range(base, base + resource[r].member_count):
        f = wide(member[m].flow)
        rate = flow[f].rate
        if flow[f].mark == FIXED:
            fixed = max(fixed, rate)
        elif flow[f].mark == FROZEN:
            rate = flow[f].next_rate
        if flow[f].mark != OPEN:
            rival = max(rival, rate)
    tally[r].rival_rate = rival
    return fixed


@compiled
def freeze(
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    visited: NDArray[Any],
    visited_count: int,
    f: int,
    rate: float,
    group: int,
) -> int:
    """Give a picked flow its rate and take it from what it loads; returns how many cold resources are visited."""
    flow[f].next_rate = rate
    flow[f].next_group = group
    flow[f].mark = FROZEN
    rise = rate - flow[f].rate
    for e in range(flow[f].load_start, flow[f].load_end):
        r = wide(load[e].resource)
        weight = load[e].weight
        if weight > 0.0:
            mark = tally[r].mark
            if mark == INSIDE:
                tally[r].left -= weight * rate
                tally[r].open_weight -= weight
                tally[r].open_count -= 1
                if r != group and tally[r].rival_rate < rate:
                    tally[r].rival_rate = rate
            else:
                if mark == COLD:
                    tally[r].mark = VISITED
                    visited[visited_count] = r
                    visited_count += 1
                    sum_used(resource, flow, member, r)
                    tally[r].left = resource[r].capacity - resource[r].used
                tally[r].left -= weight * rise
    return visited_count


@compiled
def fill_up(
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    involved: NDArray[Any],
    visited: NDArray[Any],
    picked: NDArray[Any],
    opened: NDArray[Any],
    fill: NDArray[Any],
    limits: NDArray[Any],
    count: int,
    involved_count: int,
) -> tuple[int, int]:
    """Fill the picked flows up together.

    Returns:
        -1, or a resource that fills up below the rate of an unpicked flow; and how many cold resources are visited.
    """
    limit_count = ZERO
    for i in range(count):
        f = wide(picked[i])
        if flow[f].rate_limit < np.inf:
            limits[limit_count].key = flow[f].rate_limit
            limits[limit_count].item = f
            limit_count += 1
    fill_order(limits, limit_count)
    fill_count = ZERO
    for i in range(involved_count):
        r = wide(involved[i])
        if tally[r].open_count > 0:
            resource[r].full_weight = tally[r].open_weight
            resource[r].summed_count = -1
            fill[fill_count].key = level_of(resource, tally, r)
            fill[fill_count].item = r
            fill_count += 1
    fill_order(fill, fill_count)
    visited_count = ZERO
    last = 0.0
    remaining = count
    while remaining > 0:
        level = np.inf
        r = -1
        while fill_count > 0:
            r = wide(fill[0].item)
            if tally[r].open_count == 0:
                fill_count = fill_pop(fill, fill_count)
                continue
            if (
                tally[r].open_weight < CANCELLED * resource[r].full_weight
                or tally[r].left < CANCELLED * resource[r].capacity
            ) and resource[r].summed_count != tally[r].open_count:
                sum_left(resource, tally, flow, member, r)
            level = level_of(resource, tally, r)
            if level <= fill[0].key:
                break
            fill_down(fill, fill_count, ZERO, level, r)
        if fill_count == 0:
            level = np.inf
        while limit_count > 0 and flow[limits[0].item].mark != OPEN:
            limit_count = fill_pop(limits, limit_count)
        if limit_count > 0 and limits[0].key <= level:
            last = max(last, limits[0].key)
            visited_count = freeze(
                resource,
                tally,
                flow,
                load,
                member,
                visited,
                visited_count,
                wide(limits[0].item),
                limits[0].key,
                wide(LIMITED),
            )
            limit_count = fill_pop(limits, limit_count)
            remaining -= 1
            continue
        if level <= last * (1.0 + SAME_LEVEL):
            level = last
        resource[r].next_level = level
        enough = level * (1.0 + SAME_LEVEL)
        if tally[r].rival_rate > enough and fastest_fixed(resource, tally, flow, member, r) > enough:
            return r, visited_count
        entry = wide(tally[r].open_head)
        while entry >= 0:
            f = wide(opened[entry].item)
            entry = wide(opened[entry].next)
            if flow[f].mark == OPEN:
                visited_count = freeze(resource, tally, flow, load, member, visited, visited_count, f, level, r)
                remaining -= 1
        fill_count = fill_pop(fill, fill_count)
        last = level
    return -1, visited_count
