"""The memory of the engine: one record array for each kind of thing, so that there is no Python object per activity.

An `ACTIVITY` is what was submitted (80 bytes). Only while it runs it has a `FLOW` (64 bytes, one cache line), taken
from a small pool: however many activities wait, what the solver walks over stays as compact as the active set is. An
index that means "nothing" is -1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ACTIVITY = np.dtype(
    [
        ("work", "f8"),
        ("latency_s", "f8"),
        ("rate_limit", "f8"),
        ("ready_at", "f8"),  # nan: something that it waits for has not ended
        ("start_at", "f8"),  # nan: not yet
        ("end_at", "f8"),  # nan: not yet
        ("load_start", "i4"),  # the loads end where those of the next record start; a batch ends with a sentinel
        ("successor_start", "i4"),
        ("waiting", "i4"),  # dependencies that have not ended
        ("queue", "i4"),
        ("next", "i4"),  # in its queue, then in the list of those that start now
        ("flow", "i4"),  # a flow, or one of the stages below
        ("batch", "i4"),
        ("cancelled", "i4"),
    ],
    align=True,
)
# Stages of an activity that has no flow.
WAITING, STARTING, ENDED = -1, -2, -3

FLOW = np.dtype(
    [
        ("rate", "f8"),
        ("next_rate", "f8"),  # what the solve in progress gives it
        ("rate_limit", "f8"),
        ("key", "f8"),  # see the stages below
        ("load_start", "i4"),
        ("load_end", "i4"),
        ("group", "i4"),  # the resource that freezes its rate, or one of the stages below
        ("next_group", "i4"),
        ("position", "i4"),  # in the heap of its group, or in the calendar
        ("mark", "i4"),  # of the solve in progress: FIXED, OPEN, FROZEN
        ("activity", "i4"),
        ("next", "i4"),  # in the list of free flows, or of those that begin to flow now
    ],
    align=True,
)
# Stages of a flow that no resource freezes. The key is: of a group, the virtual time of its resource at which the flow
# ends; LIMITED and LATENCY, the instant at which that ends; NEW, the work that is left.
LIMITED, NEW, LATENCY, BEGINNING, FREE = -1, -2, -3, -4, -5
FIXED, OPEN, FROZEN = 0, 1, 2

LOAD = np.dtype([("weight", "f8"), ("resource", "i4"), ("position", "i4")], align=True)  # position among the members

RESOURCE = np.dtype(
    [
        ("capacity", "f8"),
        ("level", "f8"),  # rate of the flows that it freezes, its group
        ("virtual", "f8"),  # work that each of those has done since the group was last empty, at the instant virtual_at
        ("virtual_at", "f8"),
        ("used", "f8"),  # what all its members take
        ("full_weight", "f8"),  # open weight at the start of the solve in progress, or when it was last summed
        ("next_level", "f8"),
        ("segment", "i4"),  # where its members and its group lie in their pools
        ("segment_size", "i4"),  # a power of two
        ("member_count", "i4"),
        ("group_count", "i4"),
        ("summed_count", "i4"),  # open count when what is left was last summed
        ("used_age", "i4"),  # solves since `used` was last summed
        ("touched", "i4"),  # UNTOUCHED, LEFT, JOINED, CAPACITY_CHANGED
        ("stale", "i4"),  # the time of its group in the calendar is out of date
        ("position", "i4"),  # in the calendar
    ],
    align=True,
)
UNTOUCHED, LEFT, JOINED, CAPACITY_CHANGED = 0, 1, 2, 3  # a stronger one replaces a weaker one

# What a solve reads and writes for every load of every picked flow, apart from the rest: it should stay in the cache.
TALLY = np.dtype(
    [
        ("left", "f8"),  # capacity that is not yet given away
        ("open_weight", "f8"),  # weights of its members whose rate is open
        ("rival_rate", "f8"),  # upper bound of the rates of its members that others freeze, unless it is COLD
        ("open_count", "i4"),
        ("open_head", "i4"),  # list of its picked members
        ("mark", "i4"),
    ],
    align=True,
)
# COLD: it freezes nobody; HOT: it does, or may have to; INSIDE: HOT and loaded by a picked flow; VISITED: COLD and so.
COLD, HOT, INSIDE, VISITED = 0, 1, 2, 3

MEMBER = np.dtype([("weight", "f8"), ("flow", "i4"), ("load", "i4")], align=True)
RANKED = np.dtype([("key", "f8"), ("item", "i4")], align=True)  # an entry of any heap
LISTED = np.dtype([("item", "i4"), ("next", "i4")], align=True)

QUEUE = np.dtype(
    [
        ("head", "i4"),
        ("tail", "i4"),
        ("free", "i4"),
        ("pipelined", "i4"),  # 1: latency runs from when an activity is ready, behind others or not
    ],
    align=True,
)
BATCH = np.dtype([("pending", "i8"), ("watched", "i8")], align=True)  # watched: serial of the run that waits for it

STATE = np.dtype(
    [
        ("now", "f8"),
        ("serial", "i8"),
        ("unfinished", "i8"),
        ("watched_ended", "i8"),
        ("events", "i8"),
        ("event_budget", "i8"),
        ("solves", "i8"),
        ("solved_flows", "i8"),
        ("repeats", "i8"),
        ("calendar_count", "i8"),
        ("touched_count", "i8"),
        ("member_used", "i8"),
        ("wanted", "i8"),  # with GROW_MEMBERS: size of the segment that did not fit
        ("start_head", "i8"),
        ("start_tail", "i8"),
        ("begin_head", "i8"),
        ("begin_tail", "i8"),
        ("free_flow", "i8"),
    ],
    align=True,
)

SEGMENT_CLASSES = 32  # free segments of size 2 ** class


class Store(NamedTuple):
    """Every array of an engine, in the order in which the compiled functions name them."""

    state: NDArray[Any]  # (1), STATE
    activity: NDArray[Any]
    successor: NDArray[np.int32]
    load: NDArray[Any]
    queue: NDArray[Any]
    batch: NDArray[Any]
    resource: NDArray[Any]
    tally: NDArray[Any]  # (resources)
    flow: NDArray[Any]
    member: NDArray[Any]
    ranked: NDArray[Any]  # the heaps of the groups, in the same segments as the members
    free_segment: NDArray[np.int32]  # (SEGMENT_CLASSES)
    calendar: NDArray[Any]  # (flows + resources), RANKED: time and flow, or time and ~resource for its group
    touched: NDArray[np.int32]  # (resources)
    involved: NDArray[np.int32]  # (resources), of the solve in progress: those INSIDE
    visited: NDArray[np.int32]  # (resources), of the solve in progress: those VISITED
    picked: NDArray[np.int32]  # (flows), of the solve in progress
    opened: NDArray[Any]  # (members), LISTED: a picked flow, in the list of a resource
    fill: NDArray[Any]  # (resources), RANKED: level and resource
    limits: NDArray[Any]  # (flows), RANKED: rate limit and flow


def empty_store() -> Store:
    """A store without resources, with room for a few flows."""
    state = np.zeros(1, STATE)
    for name in ("start_head", "start_tail", "begin_head", "begin_tail", "free_flow"):
        state[name] = -1
    store = Store(
        state=state,
        activity=np.zeros(0, ACTIVITY),
        successor=np.zeros(0, np.int32),
        load=np.zeros(0, LOAD),
        queue=np.zeros(0, QUEUE),
        batch=np.zeros(0, BATCH),
        resource=np.zeros(0, RESOURCE),
        tally=np.zeros(0, TALLY),
        flow=np.zeros(0, FLOW),
        member=np.zeros(0, MEMBER),
        ranked=np.zeros(0, RANKED),
        free_segment=np.full(SEGMENT_CLASSES, -1, np.int32),
        calendar=np.zeros(0, RANKED),
        touched=np.zeros(0, np.int32),
        involved=np.zeros(0, np.int32),
        visited=np.zeros(0, np.int32),
        picked=np.zeros(0, np.int32),
        opened=np.zeros(0, LISTED),
        fill=np.zeros(0, RANKED),
        limits=np.zeros(0, RANKED),
    )
    return with_flows(with_members(store, 256), 64)


def enlarged(array: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy with room for `size` entries, the new ones zero."""
    grown = np.zeros(size, array.dtype)
    grown[: len(array)] = array
    return grown


def with_flows(store: Store, size: int) -> Store:
    """The store with room for `size` flows, the new ones in the list of free flows."""
    old = len(store.flow)
    flow = enlarged(store.flow, size)
    flow["group"][old:] = FREE
    flow["next"][old:] = np.arange(old + 1, size + 1)
    flow["next"][-1] = store.state["free_flow"][0]
    store.state["free_flow"] = old
    return store._replace(
        flow=flow,
        picked=np.zeros(size, np.int32),
        limits=np.zeros(size, RANKED),
        calendar=enlarged(store.calendar, size + len(store.resource)),
    )


def with_members(store: Store, size: int) -> Store:
    """The store with room for `size` members over all resources."""
    return store._replace(
        member=enlarged(store.member, size),
        ranked=enlarged(store.ranked, size),
        opened=np.zeros(size, LISTED),
    )


def with_resources(store: Store, size: int) -> Store:
    """The store with room for `size` resources."""
    return store._replace(
        resource=enlarged(store.resource, size),
        tally=enlarged(store.tally, size),
        touched=enlarged(store.touched, size),
        involved=np.zeros(size, np.int32),
        visited=np.zeros(size, np.int32),
        fill=np.zeros(size, RANKED),
        calendar=enlarged(store.calendar, size + len(store.flow)),
    )
