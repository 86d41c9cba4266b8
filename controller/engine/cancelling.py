"""Ends an activity before its work is done, wherever in its life it is."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from controller.engine.compiled import compiled, wide
from controller.engine.flow_pool import free_flow
from controller.engine.heaps import calendar_remove
from controller.engine.loop import call_up, end
from controller.engine.membership import leave_group, leave_members
from controller.engine.records import ENDED, LATENCY, STARTING, Store


@compiled
def unlink(state: NDArray[Any], activity: NDArray[Any], queue: NDArray[Any], a: int) -> None:
    """Take an activity that has not started out of its queue."""
    q = wide(activity[a].queue)
    before = -1
    here = wide(queue[q].head)
    while here != a:
        before = here
        here = wide(activity[here].next)
    if before < 0:
        queue[q].head = activity[a].next
    else:
        activity[before].next = activity[a].next
    if queue[q].tail == a:
        queue[q].tail = before


@compiled
def cancel_activity(store: Store, a: int) -> bool:
    """End an activity now, whatever it is doing; False if it has ended already."""
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
        _,
        calendar,
        touched,
        _,
        _,
        _,
        _,
        _,
        _,
    ) = store
    f = wide(activity[a].flow)
    if f == ENDED:
        return False
    activity[a].cancelled = 1
    holds_slot = True
    if f >= 0:
        group = wide(flow[f].group)
        if group == LATENCY:
            calendar_remove(state, calendar, flow, resource, wide(flow[f].position))
        else:
            leave_group(state, resource, flow, ranked, calendar, f)
            if group >= 0 and resource[group].group_count == 0:
                calendar_remove(state, calendar, flow, resource, wide(resource[group].position))
            leave_members(state, resource, tally, flow, load, member, touched, f)
        free_flow(state, flow, f)
    elif f == STARTING:
        before = -1
        here = wide(state[0].start_head)
        while here != a:
            before = here
            here = wide(activity[here].next)
        if before < 0:
            state[0].start_head = activity[a].next
        else:
            activity[before].next = activity[a].next
        if state[0].start_tail == a:
            state[0].start_tail = before
    else:
        holds_slot = False
        if activity[a].queue >= 0:
            unlink(state, activity, queue, a)
    end(state, activity, successor, queue, batch, a, holds_slot)
    if not holds_slot and activity[a].queue >= 0:
        call_up(state, activity, queue, wide(activity[a].queue))
    return True
