"""Checks a batch and copies it into the pools, where it waits for the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.engine.compiled import compiled
from controller.engine.loop import call_up, push_start
from controller.engine.records import WAITING, Store

# What may be wrong with a batch; the index of the activity (or load, or dependency) goes with it.
FINE, BAD_WORK, BAD_LATENCY, BAD_RATE, BAD_QUEUE, BAD_LOAD, BAD_WEIGHT, BAD_DEP, UNLIMITED = range(9)


@compiled
def check(
    resource_count: int,
    queue_count: int,
    work: NDArray[np.float64],
    latency_s: NDArray[np.float64],
    rate_limit: NDArray[np.float64],
    in_queue: NDArray[np.int32],
    load_start: NDArray[np.int64],
    load_resource: NDArray[np.int32],
    load_weight: NDArray[np.float64],
    dep_start: NDArray[np.int64],
    dep: NDArray[np.int32],
) -> tuple[int, int]:
    """What is wrong first, and where; every comparison is false for nan."""
    n = len(work)
    for e in range(len(load_resource)):
        if not 0 <= load_resource[e] < resource_count:
            return BAD_LOAD, e
        if not 0.0 <= load_weight[e] < np.inf:
            return BAD_WEIGHT, e
    for i in range(n):
        if not 0.0 <= work[i] < np.inf:
            return BAD_WORK, i
        if not 0.0 <= latency_s[i] < np.inf:
            return BAD_LATENCY, i
        if not rate_limit[i] > 0.0:
            return BAD_RATE, i
        if not -1 <= in_queue[i] < queue_count:
            return BAD_QUEUE, i
        for d in range(dep_start[i], dep_start[i + 1]):
            if not 0 <= dep[d] < n or dep[d] == i:
                return BAD_DEP, d
        if work[i] > 0.0 and rate_limit[i] == np.inf:
            limited = False
            for e in range(load_start[i], load_start[i + 1]):
                if load_weight[e] > 0.0:
                    limited = True
            if not limited:
                return UNLIMITED, i
    return FINE, 0


@compiled
def admit_batch(
    store: Store,
    work: NDArray[np.float64],
    latency_s: NDArray[np.float64],
    rate_limit: NDArray[np.float64],
    in_queue: NDArray[np.int32],
    load_start: NDArray[np.int64],
    load_resource: NDArray[np.int32],
    load_weight: NDArray[np.float64],
    dep_start: NDArray[np.int64],
    dep: NDArray[np.int32],
    places: NDArray[np.int64],
    starts: NDArray[np.int32],
) -> tuple[int, int]:
    """Check a batch and copy it to its places in the pools.

    The places are how many resources and queues there are, and where the activities, the loads, the successors and the
    batch itself go; `starts` is room for (n + 1) numbers.
    """
    resource_count, queue_count, first, first_load, first_successor, b = places
    wrong, where = check(
        resource_count,
        queue_count,
        work,
        latency_s,
        rate_limit,
        in_queue,
        load_start,
        load_resource,
        load_weight,
        dep_start,
        dep,
    )
    if wrong != FINE:
        return wrong, where
    state, activity, successor, load, queue, batch = store[:6]
    n = len(work)
    for e in range(len(load_resource)):
        load[first_load + e].weight = load_weight[e]
        load[first_load + e].resource = load_resource[e]
    # Dependencies turned round by counting: first a row is as long as what depends on it, then it starts where those
    # before it end, and while it is filled in the next entry goes where it starts.
    for i in range(n + 1):
        starts[i] = 0
    for d in range(len(dep)):
        starts[dep[d] + 1] += 1
    starts[0] = first_successor
    for i in range(1, n + 1):
        starts[i] += starts[i - 1]
    for i in range(n + 1):
        activity[first + i].successor_start = starts[i]
        activity[first + i].load_start = first_load + load_start[i]
    for i in range(n):
        for d in range(dep_start[i], dep_start[i + 1]):
            successor[starts[dep[d]]] = first + i
            starts[dep[d]] += 1
    for i in range(n):
        a = first + i
        activity[a].work = work[i]
        activity[a].latency_s = latency_s[i]
        activity[a].rate_limit = rate_limit[i]
        activity[a].ready_at = state[0].now if dep_start[i + 1] == dep_start[i] else np.nan
        activity[a].start_at = np.nan
        activity[a].end_at = np.nan
        activity[a].waiting = dep_start[i + 1] - dep_start[i]
        activity[a].queue = in_queue[i]
        activity[a].next = -1
        activity[a].flow = WAITING
        activity[a].batch = b
        activity[a].cancelled = 0
        q = in_queue[i]
        if q >= 0:
            if queue[q].head < 0:
                queue[q].head = a
            else:
                activity[queue[q].tail].next = a
            queue[q].tail = a
    batch[b].pending = n
    batch[b].watched = -1
    state[0].unfinished += n
    for i in range(n):
        a = first + i
        if activity[a].waiting == 0:
            q = in_queue[i]
            if q < 0:
                push_start(state, activity, a)
            elif queue[q].head == a:
                call_up(state, activity, queue, q)
    return FINE, 0


def complaint(wrong: int, where: int, arrays: tuple[NDArray[Any], ...], counts: tuple[int, int]) -> str:
    """The sentence for what `admit_batch` found in these arrays; there are so many resources and queues."""
    work, latency_s, rate_limit, in_queue, load_start, load_resource, load_weight, dep_start, dep = arrays
    if wrong == BAD_WORK:
        return f"work of activity {where} is {work[where]}; it must be finite and >= 0"
    if wrong == BAD_LATENCY:
        return f"latency_s of activity {where} is {latency_s[where]} s; it must be finite and >= 0"
    if wrong == BAD_RATE:
        return f"rate_limit of activity {where} is {rate_limit[where]}; it must be > 0, inf for none"
    if wrong == BAD_QUEUE:
        return f"activity {where} is in queue {in_queue[where]}; there are {counts[1]}, and -1 means none"
    if wrong == UNLIMITED:
        return (
            f"activity {where} has work {work[where]} and nothing limits its rate; "
            "give it a rate_limit or a load with a weight > 0"
        )
    starts = dep_start if wrong == BAD_DEP else load_start
    owner = int(np.searchsorted(starts, where, side="right")) - 1
    if wrong == BAD_DEP:
        return f"activity {owner} depends on {dep[where]}; it must be another one of the {len(work)} of its batch"
    if wrong == BAD_LOAD:
        return f"activity {owner} loads resource {load_resource[where]}; there are {counts[0]}"
    return f"activity {owner} has a load of weight {load_weight[where]}; it must be finite and >= 0"
