"""Max-min fair rates, solved again only where something changed.

The state between two solves is a certificate: every flow is frozen either by its own rate limit or by one resource
(its group) that is full and on which no flow is faster. An allocation with such a certificate is the max-min fair
one, and there is only one. A solve picks the flows whose rate may change, leaves the others as they are, fills the
picked ones from zero up together (progressive filling), and thereby makes new certificates for the picked ones. Those
of the others hold on when three things are true, and the solve sees to each:

- *No picked flow changes what is left of a resource that freezes an unpicked one.* Whoever is picked brings along the
  groups of all resources that it loads. This goes one way only: a flow that is frozen below the level of a resource
  feels nothing of what happens above, and stays unpicked.
- *No unpicked flow is faster than the level at which a resource fills up.* If one is, it is picked too and the filling
  starts again. This is rare: only a resource whose level falls can meet it, and where flows were added or capacity was
  lost, a bound on the new level tells beforehand who will be picked.
- *No resource that froze nobody is overdrawn.* Those are left out of the filling, and looked at when it is done. One
  that is overdrawn takes part from then on, and the filling starts again.

So what a solve walks over are the picked flows and what they load, never the other members of a resource: what all
members take, and a bound on the rate of those that others freeze, are numbers that are carried from solve to solve
and summed anew before rounding can show in them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.engine.compiled import ZERO, compiled, wide
from controller.engine.filling import fill_up
from controller.engine.heaps import calendar_put, calendar_remove
from controller.engine.membership import join_group, leave_group, set_clock
from controller.engine.picking import close, involve, pick_faster, reset_tally
from controller.engine.records import COLD, FIXED, HOT, INSIDE, LEFT, OPEN, UNTOUCHED, VISITED

# After so many starts of one filling everything that is connected is picked, which needs no further start.
PATIENCE = 4
# A resource is overdrawn if more than this part of its capacity is given away too much; less is rounding.
OVERDRAWN = 1e-13


@compiled
def commit(
    state: NDArray[Any],
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    ranked: NDArray[Any],
    calendar: NDArray[Any],
    involved: NDArray[Any],
    visited: NDArray[Any],
    picked: NDArray[Any],
    count: int,
    involved_count: int,
    visited_count: int,
) -> None:
    """Let the new rates hold from now on."""
    for i in range(count):
        f = wide(picked[i])
        flow[f].mark = FIXED
        flow[f].rate = flow[f].next_rate
        group = wide(flow[f].next_group)
        if group != flow[f].group:
            left = leave_group(state, resource, flow, ranked, calendar, f)
            join_group(state, resource, flow, ranked, calendar, f, group, left)
    for i in range(visited_count):
        r = wide(visited[i])
        tally[r].mark = COLD
        resource[r].used = resource[r].capacity - tally[r].left
    for i in range(involved_count):
        r = wide(involved[i])
        resource[r].touched = UNTOUCHED
        resource[r].used = resource[r].capacity - tally[r].left
        if resource[r].group_count > 0:
            tally[r].mark = HOT
            level = resource[r].next_level
            if level != resource[r].level:
                set_clock(state, resource, r)
                resource[r].level = level
                resource[r].stale = 1
            if resource[r].stale != 0:
                resource[r].stale = 0
                left = ranked[resource[r].segment].key - resource[r].virtual
                time = resource[r].virtual_at + max(left, 0.0) / level if level > 0.0 else np.inf
                calendar_put(state, calendar, flow, resource, wide(resource[r].position), time, ~r)
        else:
            tally[r].mark = COLD
            if resource[r].position >= 0:
                calendar_remove(state, calendar, flow, resource, wide(resource[r].position))


@compiled
def overdrawn(
    resource: NDArray[Any],
    tally: NDArray[Any],
    involved: NDArray[Any],
    visited: NDArray[Any],
    involved_count: int,
    visited_count: int,
) -> int:
    """Turn visited resources of which too much was given away into involved ones; returns how many are involved."""
    for i in range(visited_count):
        r = wide(visited[i])
        if tally[r].left < -OVERDRAWN * resource[r].capacity:
            tally[r].mark = INSIDE
            tally[r].rival_rate = np.inf
            involved[involved_count] = r
            involved_count += 1
    return involved_count


@compiled
def solve(
    state: NDArray[Any],
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    ranked: NDArray[Any],
    calendar: NDArray[Any],
    touched: NDArray[Any],
    involved: NDArray[Any],
    visited: NDArray[Any],
    picked: NDArray[Any],
    opened: NDArray[Any],
    fill: NDArray[Any],
    limits: NDArray[Any],
) -> None:
    """Make the rates max-min fair again after the changes at the touched resources."""
    for t in range(state[0].touched_count):
        seed = wide(touched[t])
        if resource[seed].touched == UNTOUCHED:
            continue
        if resource[seed].touched == LEFT and resource[seed].group_count == 0:
            # It froze nobody, and now less is taken of it.
            resource[seed].touched = UNTOUCHED
            tally[seed].mark = COLD
            continue
        involved[0] = seed
        involved_count = ZERO + 1
        visited_count = ZERO
        everything = ZERO > 0
        count = involve(resource, tally, flow, member, ranked, picked, ZERO, seed, everything)
        starts = 0
        while count > 0:
            count, involved_count = close(
                resource,
                tally,
                flow,
                load,
                member,
                ranked,
                involved,
                picked,
                opened,
                count,
                involved_count,
                everything,
            )
            crowded, visited_count = fill_up(
                resource,
                tally,
                flow,
                load,
                member,
                involved,
                visited,
                picked,
                opened,
                fill,
                limits,
                count,
                involved_count,
            )
            before = involved_count
            if crowded < 0:
                involved_count = overdrawn(resource, tally, involved, visited, involved_count, visited_count)
                if involved_count == before:
                    break
            state[0].repeats += 1
            starts += 1
            everything = starts >= PATIENCE
            for i in range(visited_count):
                if tally[visited[i]].mark == VISITED:
                    tally[visited[i]].mark = COLD
            for i in range(count):
                flow[picked[i]].mark = OPEN
            if crowded >= 0:
                count = pick_faster(resource, flow, member, picked, count, crowded, resource[crowded].next_level)
            for i in range(involved_count):
                if everything:
                    count = involve(resource, tally, flow, member, ranked, picked, count, wide(involved[i]), everything)
                reset_tally(resource, tally, wide(involved[i]))
        commit(
            state,
            resource,
            tally,
            flow,
            ranked,
            calendar,
            involved,
            visited,
            picked,
            count,
            involved_count,
            visited_count,
        )
        state[0].solves += 1
        state[0].solved_flows += count
    state[0].touched_count = 0
