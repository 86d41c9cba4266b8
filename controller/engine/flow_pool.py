"""Entries of the pool of flows, taken when an activity begins to flow and given back when it ends."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from controller.engine.compiled import compiled, wide
from controller.engine.records import FREE


@compiled
def take_flow(state: NDArray[Any], activity: NDArray[Any], flow: NDArray[Any], a: int) -> int:
    """A flow for an activity that starts; there must be a free one."""
    f = wide(state[0].free_flow)
    state[0].free_flow = flow[f].next
    activity[a].flow = f
    flow[f].activity = a
    flow[f].rate = 0.0
    flow[f].rate_limit = activity[a].rate_limit
    flow[f].load_start = activity[a].load_start
    flow[f].load_end = activity[a + 1].load_start
    flow[f].position = -1
    return int(f)


@compiled
def free_flow(state: NDArray[Any], flow: NDArray[Any], f: int) -> None:
    """Give a flow back."""
    flow[f].group = FREE
    flow[f].next = state[0].free_flow
    state[0].free_flow = f
