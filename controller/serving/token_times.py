"""Instants of the tokens of a request, from the runs of decode steps that it was in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from controller.serving.state import RequestState

Instants = npt.NDArray[np.float64]


def token_instants(state: RequestState, step_end_at: Sequence[Instants]) -> Instants:
    """Instants of all tokens of a request that has ended [s] (n).

    Args:
        state: of the request.
        step_end_at: ends of the decode steps of every instance [s].
    """
    runs = [step_end_at[instance][first:stop] for instance, first, stop in state.token_runs]
    found = np.concatenate([np.array(state.prefill_ends), *runs])
    return found if len(runs) <= 1 and len(state.prefill_ends) == 1 else np.sort(found)


def token_gaps(state: RequestState, step_end_at: Sequence[Instants]) -> Instants:
    """Times between the tokens of a request [s] (n - 1)."""
    return np.diff(token_instants(state, step_end_at))
