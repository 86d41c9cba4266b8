"""Changes what an activity takes and how fast it may be, wherever in its life it is: flows that move, slow devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from controller.engine.compiled import compiled, entry, fingerprint, wide
from controller.engine.heaps import calendar_remove
from controller.engine.loop import push_begin
from controller.engine.membership import leave_group, leave_members
from controller.engine.records import BEGINNING, ENDED, LATENCY, Store, empty_store


@compiled
def reweigh_activity(store: Store, a: int, weights: NDArray[np.float64], rate_limit: float) -> float:
    """Give an activity another rate limit and its loads other weights; returns the work that it still has to do.

    What flows leaves everything that it loads and begins again at this instant with the work that is left; what does
    not flow yet has nothing to leave.
    """
    (
        state,
        activity,
        _,
        load,
        _,
        _,
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
        return 0.0
    begins_again = False
    if f >= 0 and flow[f].group != LATENCY and flow[f].group != BEGINNING:
        group = wide(flow[f].group)
        activity[a].work = leave_group(state, resource, flow, ranked, calendar, f)
        if group >= 0 and resource[group].group_count == 0:
            calendar_remove(state, calendar, flow, resource, wide(resource[group].position))
        leave_members(state, resource, tally, flow, load, member, touched, f)
        begins_again = True
    start = wide(activity[a].load_start)
    for e in range(len(weights)):
        load[start + e].weight = weights[e]
    activity[a].rate_limit = rate_limit
    if f >= 0:
        flow[f].rate_limit = rate_limit
    if begins_again:
        flow[f].rate = 0.0
        flow[f].position = -1
        push_begin(state, flow, f)
    return float(activity[a].work)


@cache
def reweigh_entry() -> Callable[[Store, int, NDArray[np.float64], float], float]:
    """The compiled function; loaded or compiled when a run first moves a flow."""
    typeof: Callable[[Any], Any] = numba.typeof
    function: Any = _function(fingerprint())
    compiled_for = (typeof(empty_store()), numba.int64, typeof(np.zeros(0)), numba.float64)
    made: Callable[[Store, int, NDArray[np.float64], float], float] = function.compile(compiled_for)
    return made


def _function(sources: int) -> Any:
    # What a function closes over is part of the key of numba's cache; see `fingerprint`.
    @entry
    def reweigh(store: Store, a: int, weights: NDArray[np.float64], rate_limit: float) -> float:
        if sources < 0:
            return -1.0
        return reweigh_activity(store, a, weights, rate_limit)

    return reweigh
