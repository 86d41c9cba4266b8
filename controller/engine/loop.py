"""The state machine: activities are admitted, start, pay their latency, flow and end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.engine.compiled import NOWHERE, ZERO, compiled, wide
from controller.engine.flow_pool import free_flow, take_flow
from controller.engine.heaps import calendar_down, calendar_put, calendar_remove, group_remove
from controller.engine.membership import join_members, leave_members, reserve
from controller.engine.records import BEGINNING, ENDED, LATENCY, LIMITED, NEW, STARTING, Store
from controller.engine.solver import solve

# How `advance` ends.
IDLE, TICKET_ENDED, REACHED, STUCK, SPENT, GROW_FLOWS, GROW_MEMBERS = range(7)
# Events this close, relative to the present, are one: it is how far apart rounding may put equal instants.
SAME_INSTANT = 2.0**-50


@compiled
def push_start(state: NDArray[Any], activity: NDArray[Any], a: int) -> None:
    """Append an activity to the list of those that start now."""
    activity[a].flow = STARTING
    activity[a].next = -1
    if state[0].start_head < 0:
        state[0].start_head = a
    else:
        activity[state[0].start_tail].next = a
    state[0].start_tail = a


@compiled
def call_up(state: NDArray[Any], activity: NDArray[Any], queue: NDArray[Any], q: int) -> None:
    """Let the first activities of a queue start, as far as slots are free and their dependencies have ended."""
    while queue[q].free > 0:
        a = wide(queue[q].head)
        if a < 0 or activity[a].waiting > 0:
            return
        queue[q].head = activity[a].next
        queue[q].free -= 1
        push_start(state, activity, a)


@compiled
def ready(state: NDArray[Any], activity: NDArray[Any], queue: NDArray[Any], a: int) -> None:
    """The last dependency of an activity has ended."""
    activity[a].ready_at = state[0].now
    if activity[a].queue < 0:
        push_start(state, activity, a)
    elif queue[activity[a].queue].head == a:
        call_up(state, activity, queue, wide(activity[a].queue))


@compiled
def end(
    state: NDArray[Any],
    activity: NDArray[Any],
    successor: NDArray[Any],
    queue: NDArray[Any],
    batch: NDArray[Any],
    a: int,
    holds_slot: bool,
) -> None:
    """An activity ends now: its slot, its successors and who waits for its batch."""
    activity[a].flow = ENDED
    activity[a].end_at = state[0].now
    state[0].unfinished -= 1
    b = wide(activity[a].batch)
    batch[b].pending -= 1
    if batch[b].pending == 0 and batch[b].watched == state[0].serial:
        state[0].watched_ended += 1
    if holds_slot and activity[a].queue >= 0:
        queue[activity[a].queue].free += 1
        call_up(state, activity, queue, wide(activity[a].queue))
    for s in range(activity[a].successor_start, activity[a + 1].successor_start):
        follower = wide(successor[s])
        activity[follower].waiting -= 1
        if activity[follower].waiting == 0 and activity[follower].flow == -1:
            ready(state, activity, queue, follower)


@compiled
def push_begin(state: NDArray[Any], flow: NDArray[Any], f: int) -> None:
    """Append a flow to the list of those that begin to flow now."""
    flow[f].group = BEGINNING
    flow[f].next = -1
    if state[0].begin_head < 0:
        state[0].begin_head = f
    else:
        flow[state[0].begin_tail].next = f
    state[0].begin_tail = f


@compiled
def start(
    state: NDArray[Any],
    activity: NDArray[Any],
    successor: NDArray[Any],
    queue: NDArray[Any],
    batch: NDArray[Any],
    resource: NDArray[Any],
    flow: NDArray[Any],
    calendar: NDArray[Any],
    a: int,
) -> None:
    """An activity starts now: it pays its latency, or begins to flow, or has nothing to do at all."""
    activity[a].start_at = state[0].now
    flows_at = state[0].now + activity[a].latency_s
    if activity[a].queue >= 0 and queue[activity[a].queue].pipelined:
        flows_at = activity[a].ready_at + activity[a].latency_s
    if flows_at > state[0].now:
        f = take_flow(state, activity, flow, a)
        flow[f].group = LATENCY
        flow[f].key = flows_at
        calendar_put(state, calendar, flow, resource, NOWHERE, flow[f].key, f)
    elif activity[a].work > 0.0:
        push_begin(state, flow, take_flow(state, activity, flow, a))
    else:
        end(state, activity, successor, queue, batch, a, True)


@compiled
def begin(
    state: NDArray[Any],
    activity: NDArray[Any],
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    calendar: NDArray[Any],
    touched: NDArray[Any],
    f: int,
) -> None:
    """A flow begins to flow; what shares nothing is on its way to its end at once."""
    work = activity[flow[f].activity].work
    shares = False
    for e in range(flow[f].load_start, flow[f].load_end):
        if load[e].weight > 0.0:
            shares = True
    if shares:
        flow[f].group = NEW
        flow[f].key = work
        flow[f].mark = 0
        join_members(state, resource, tally, flow, load, member, touched, f)
    else:
        flow[f].group = LIMITED
        flow[f].rate = flow[f].rate_limit
        flow[f].key = state[0].now + work / flow[f].rate_limit
        calendar_put(state, calendar, flow, resource, NOWHERE, flow[f].key, f)


@compiled
def collect(
    state: NDArray[Any],
    activity: NDArray[Any],
    successor: NDArray[Any],
    queue: NDArray[Any],
    batch: NDArray[Any],
    resource: NDArray[Any],
    tally: NDArray[Any],
    flow: NDArray[Any],
    load: NDArray[Any],
    member: NDArray[Any],
    ranked: NDArray[Any],
    calendar: NDArray[Any],
    touched: NDArray[Any],
) -> None:
    """Everything that happens at the present instant, before anything is solved again."""
    horizon = state[0].now * (1.0 + SAME_INSTANT)
    while state[0].calendar_count > 0 and calendar[0].key <= horizon:
        item = wide(calendar[0].item)
        state[0].events += 1
        if item >= 0:
            f = item
            calendar_remove(state, calendar, flow, resource, ZERO)
            if flow[f].group == LATENCY and activity[flow[f].activity].work > 0.0:
                push_begin(state, flow, f)
                continue
            if flow[f].group == LIMITED:
                leave_members(state, resource, tally, flow, load, member, touched, f)
        else:
            r = ~item
            base = wide(resource[r].segment)
            f = wide(ranked[base].item)
            group_remove(ranked, flow, resource, r, ZERO)
            if resource[r].group_count > 0:
                # Predicted like the first one, from the same reading of the clock: equal keys end at equal instants.
                left = ranked[base].key - resource[r].virtual
                time = resource[r].virtual_at + max(left, 0.0) / resource[r].level
                calendar_down(calendar, state[0].calendar_count, flow, resource, ZERO, time, item)
            else:
                calendar_remove(state, calendar, flow, resource, ZERO)
            leave_members(state, resource, tally, flow, load, member, touched, f)
        a = wide(flow[f].activity)
        free_flow(state, flow, f)
        end(state, activity, successor, queue, batch, a, True)


@compiled
def advance(store: Store, until_s: float) -> int:
    """Run until somebody who is watched has ended, until an instant, or until nothing can happen any more."""
    (
        state,
        activity,
        successor,
        load,
        queue,
        batch,
        resource,
        tally,
        flow,
        member,
        ranked,
        free_segment,
        calendar,
        touched,
        involved,
        visited,
        picked,
        opened,
        fill,
        limits,
    ) = store
    while True:
        while True:
            f = wide(state[0].begin_head)
            a = wide(state[0].start_head)
            if f >= 0:
                if not reserve(
                    state,
                    resource,
                    member,
                    ranked,
                    free_segment,
                    load,
                    wide(flow[f].load_start),
                    wide(flow[f].load_end),
                ):
                    return GROW_MEMBERS
                state[0].begin_head = flow[f].next
                begin(state, activity, resource, tally, flow, load, member, calendar, touched, f)
            elif a >= 0:
                if state[0].free_flow < 0:
                    return GROW_FLOWS
                state[0].start_head = activity[a].next
                start(state, activity, successor, queue, batch, resource, flow, calendar, a)
            else:
                break
        if state[0].watched_ended > 0:
            return TICKET_ENDED
        if state[0].events > state[0].event_budget:
            return SPENT
        if state[0].touched_count > 0:
            solve(
                state,
                resource,
                tally,
                flow,
                load,
                member,
                ranked,
                calendar,
                touched,
                involved,
                visited,
                picked,
                opened,
                fill,
                limits,
            )
        time = calendar[0].key if state[0].calendar_count > 0 else np.inf
        if time > until_s:
            state[0].now = until_s
            return REACHED
        if time == np.inf:
            if state[0].unfinished > 0:
                return STUCK
            return IDLE
        # Rounding may put the end of a flow a hair before the present: it ends now.
        state[0].now = max(state[0].now, time)
        collect(
            state, activity, successor, queue, batch, resource, tally, flow, load, member, ranked, calendar, touched
        )
