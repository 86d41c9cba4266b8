"""Which flows a solve has to look at: those that changed, and whoever is frozen by what they load."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.engine.compiled import compiled, wide
from controller.engine.records import COLD, FIXED, INSIDE, JOINED, NEW, OPEN

# Levels closer than this are one: rounding must not break the symmetry of flows that are alike.
SAME_LEVEL = 1e-12
# What the members of a resource take is summed anew after so many solves.
SUMS_KEPT = 64


@compiled
def pick(flow: NDArray[Any], picked: NDArray[Any], count: int, f: int) -> int:
    """Pick a flow if it is not; returns how many are picked by now."""
    if flow[f].mark == FIXED:
        flow[f].mark = OPEN
        picked[count] = f
        count += 1
    return count


@compiled
def pick_faster(
    resource: NDArray[Any],
    flow: NDArray[Any],
    member: NDArray[Any],
    picked: NDArray[Any],
    count: int,
    r: int,
    rate: float,
) -> int:
    """Pick every member of a resource that is faster than `rate`; returns how many are picked by now."""
    base = wide(resource[r].segment)
    for m in range(base, base + resource[r].member_count):
        f = wide(member[m].flow)
        if flow[f].rate > rate:
            count = pick(flow, picked, count, f)
    return count


@compiled
def pick_touched(
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    member: NDArray[Any],
    picked: NDArray[Any],
    count: int,
    r: int,
) -> int:
    """Pick the new members of a resource, and whoever may lose rate because of them or of a new capacity."""
    elsewhere = 0.0
    own = 0.0
    own_rate = 0.0
    rival = 0.0
    added = 0.0
    at_limit = 0.0
    base = wide(resource[r].segment)
    for m in range(base, base + resource[r].member_count):
        f = wide(member[m].flow)
        weight = member[m].weight
        group = wide(flow[f].group)
        if group == r:
            own += weight
            own_rate = flow[f].rate
        elif group == NEW:
            added += weight
            at_limit += weight * flow[f].rate_limit
            count = pick(flow, picked, count, f)
        else:
            elsewhere += weight * flow[f].rate
            rival = max(rival, flow[f].rate)
    resource[r].used = elsewhere + own * own_rate
    resource[r].used_age = 0
    tally[r].rival_rate = rival
    # The resource does not fill up below this level: up to there nobody who is frozen elsewhere takes more than before,
    # and the others take the level itself or, the new ones, their limit.
    spare = resource[r].capacity - elsewhere
    if own > 0.0:
        bound = max(spare / (own + added), (spare - at_limit) / own)
    elif spare >= at_limit:
        return count
    elif added > 0.0:
        bound = spare / added
    else:
        bound = -1.0
    bound *= 1.0 - SAME_LEVEL
    if bound < max(rival, own_rate):
        count = pick_faster(resource, flow, member, picked, count, r, bound)
    return count


@compiled
def sum_used(resource: NDArray[Any], flow: NDArray[Any], member: NDArray[Any], r: int) -> None:
    """Count a solve that changes what the members of a resource take, which is summed anew now and then."""
    resource[r].used_age += 1
    if resource[r].used_age < SUMS_KEPT:
        return
    used = 0.0
    base = wide(resource[r].segment)
    for m in range(base, base + resource[r].member_count):
        used += member[m].weight * flow[member[m].flow].rate
    resource[r].used = used
    resource[r].used_age = 0


@compiled
def reset_tally(resource: NDArray[Any], tally: NDArray[Any], r: int) -> None:
    """Nobody on a resource is open yet."""
    tally[r].left = resource[r].capacity - resource[r].used
    tally[r].open_weight = 0.0
    tally[r].open_count = 0
    tally[r].open_head = -1


@compiled
def involve(
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    member: NDArray[Any],
    ranked: NDArray[Any],
    picked: NDArray[Any],
    count: int,
    r: int,
    everything: bool,
) -> int:
    """Pick whom a resource brings along that a picked flow loads; returns how many are picked by now."""
    # Nothing is known of the members of a cold one; infinity is a bound of their rates.
    if tally[r].mark == COLD:
        tally[r].rival_rate = np.inf
    tally[r].mark = INSIDE
    sum_used(resource, flow, member, r)
    if everything:
        tally[r].rival_rate = np.inf
        count = pick_faster(resource, flow, member, picked, count, r, -1.0)
    else:
        if resource[r].touched >= JOINED:
            count = pick_touched(resource, tally, flow, member, picked, count, r)
        base = wide(resource[r].segment)
        for i in range(base, base + resource[r].group_count):
            count = pick(flow, picked, count, wide(ranked[i].item))
    reset_tally(resource, tally, r)
    return count


@compiled
def close(
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    ranked: NDArray[Any],
    involved: NDArray[Any],
    picked: NDArray[Any],
    opened: NDArray[Any],
    count: int,
    involved_count: int,
    everything: bool,
) -> tuple[int, int]:
    """Open every picked flow, which involves what it loads, which picks more flows; returns how many of both."""
    scanned = 0
    entry = 0
    while scanned < count:
        f = wide(picked[scanned])
        scanned += 1
        rate = flow[f].rate
        for e in range(flow[f].load_start, flow[f].load_end):
            r = wide(load[e].resource)
            weight = load[e].weight
            mark = tally[r].mark
            if weight > 0.0 and (mark != COLD or everything):
                if mark != INSIDE:
                    involved[involved_count] = r
                    involved_count += 1
                    count = involve(resource, tally, flow, member, ranked, picked, count, r, everything)
                tally[r].left += weight * rate
                tally[r].open_weight += weight
                tally[r].open_count += 1
                opened[entry].item = f
                opened[entry].next = tally[r].open_head
                tally[r].open_head = entry
                entry += 1
    return count, involved_count
