"""Times between tokens of very many tokens: each step's duration once, with how many requests were in it.

The same distribution as that of all gaps one by one, in the memory of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controller.serving.state import RequestState
from controller.serving.token_times import Instants, token_gaps


def weighted_gaps(states: Sequence[RequestState], step_end_at: Sequence[Instants]) -> tuple[Instants, Instants]:
    """Gaps and how often each occurs, over all requests with more than one token [s].

    Args:
        states: that ended well.
        step_end_at: ends of the decode steps of every instance [s].
    """
    changes = [np.zeros(len(ends) + 1, np.int64) for ends in step_end_at]
    alone: list[float] = []
    more: list[Instants] = []
    for state in states:
        if len(state.token_runs) != 1 or len(state.prefill_ends) != 1:
            more.append(token_gaps(state, step_end_at))
            continue
        instance, first, stop = state.token_runs[0]
        alone.append(float(step_end_at[instance][first]) - state.prefill_ends[0])
        changes[instance][first + 1] += 1
        changes[instance][stop] -= 1
    gaps, counts = [np.array(alone), *more], [np.ones(len(alone)), *(np.ones(len(each)) for each in more)]
    for ends, change in zip(step_end_at, changes, strict=True):
        if len(ends) > 1:
            gaps.append(np.diff(ends))
            counts.append(np.cumsum(change[:-1])[1:].astype(float))
    values, often = np.concatenate(gaps), np.concatenate(counts)
    return values[often > 0], often[often > 0]


def weighted_percentile(values: Instants, often: Instants, shares: Sequence[float]) -> list[float]:
    """Percentiles of `values`, each as often as it occurs, on the line between the two nearest as numpy has them."""
    order = np.argsort(values, kind="stable")
    ordered, upto = values[order], np.cumsum(often[order])
    found = []
    for share in shares:
        at = share / 100 * (upto[-1] - 1)
        low, high = (ordered[np.searchsorted(upto, rank, side="right").clip(max=len(ordered) - 1)]
                     for rank in (np.floor(at), np.ceil(at)))  # fmt: skip
        found.append(float(low + (high - low) * (at - np.floor(at))))
    return found
