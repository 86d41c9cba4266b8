"""Where the mean of a series changes: Bayesian online change point detection, with and without verification.

Paper: Adams and MacKay, Bayesian Online Changepoint Detection, arXiv 0710.3742; Greyhound's use of it.
Follows: run lengths with a constant hazard and a normal model of unknown mean and variance; a change is where the
    most likely run begins anew with more than 0.9 of the probability. Greyhound then keeps a change only if the mean
    differs by at least 10 % before and after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma

import numpy as np
from numpy.typing import NDArray

HAZARD, PROBABILITY, LEAST_CHANGE = 1.0 / 250.0, 0.9, 0.10
SETTLED = 5
"""Steps that a new run must have lasted before it counts."""
WINDOW = 10
"""Steps on each side of a change over which means are taken."""
Times = NDArray[np.float64]


def change_points(values: Sequence[float] | Times) -> tuple[int, ...]:
    """Indices at which a new run begins."""
    x = np.asarray(values, np.float64)
    if len(x) < 2 * SETTLED:
        return ()
    scale = float(np.median(np.abs(x[:20] - np.median(x[:20]))) * 1.4826) or 1e-9
    mean0 = float(np.median(x[:20]))
    kappa, alpha = np.array([0.01]), np.array([1.0])
    mu, beta = np.array([mean0]), np.array([scale * scale])
    log_run = np.zeros(1)
    best = np.zeros(len(x), np.int64)
    mass = np.zeros(len(x))
    table = np.array([lgamma(0.5 * number + 1.0) for number in range(2 * len(x) + 8)])
    for at, value in enumerate(x):
        shape = 2.0 * alpha
        spread = beta * (kappa + 1.0) / (alpha * kappa)
        number = np.round(shape).astype(np.int64)
        log_t = (
            table[number - 1] - table[number - 2] - 0.5 * np.log(np.pi * shape * spread)
            - 0.5 * (shape + 1.0) * np.log1p((value - mu) ** 2 / (shape * spread))
        )  # fmt: skip
        grown = log_run + log_t + np.log1p(-HAZARD)
        fresh = np.logaddexp.reduce(log_run + log_t) + np.log(HAZARD)
        log_run = np.concatenate([[fresh], grown])
        log_run -= np.logaddexp.reduce(log_run)
        mu = np.concatenate([[mean0], (kappa * mu + value) / (kappa + 1.0)])
        old_mu = mu[1:] + (mu[1:] - value) / kappa  # the mean before this value
        beta = np.concatenate([[scale * scale], beta + 0.5 * kappa * (value - old_mu) ** 2 / (kappa + 1.0)])
        kappa, alpha = np.concatenate([[0.01], kappa + 1.0]), np.concatenate([[1.0], alpha + 0.5])
        best[at] = int(log_run.argmax())
        near = slice(max(best[at] - 2, 0), best[at] + 3)
        mass[at] = float(np.exp(log_run[near]).sum())
    found: list[int] = []
    start = 0
    for at in range(SETTLED, len(x)):
        begun = at + 1 - int(best[at])
        if int(best[at]) >= SETTLED and mass[at] > PROBABILITY and begun - start > SETTLED:
            found.append(begun)
            start = begun
    return tuple(found)


def verified(values: Sequence[float] | Times, points: Sequence[int], *, slower_only: bool = True) -> tuple[int, ...]:
    """Those of the change points at which the mean changes by at least 10 %; medians, so that a pause is no change."""
    x = np.asarray(values, np.float64)
    kept = []
    for at in points:
        before, after = float(np.median(x[max(at - WINDOW, 0) : at])), float(np.median(x[at : at + WINDOW]))
        change = after / before - 1.0 if before > 0.0 else 0.0
        if change >= LEAST_CHANGE or (not slower_only and change <= -LEAST_CHANGE):
            kept.append(at)
    return tuple(kept)


def window_rule(values: Sequence[float] | Times, window: int = 10, ratio: float = 1.25) -> tuple[int, ...]:
    """Starts of windows whose mean is over `ratio` times that of the first window: the rule without a model."""
    x = np.asarray(values, np.float64)
    usual = float(x[:window].mean())
    starts = range(window, len(x) - window + 1, window)
    return tuple(at for at in starts if x[at : at + window].mean() > ratio * usual)


def period_of(intervals: Sequence[float] | Times, least: float = 0.95) -> int | None:
    """Operations of one iteration: the first lag at which the series of intervals correlates with itself."""
    x = np.asarray(intervals, np.float64)
    for lag in range(1, len(x) // 2):
        a, b = x[:-lag] - x[:-lag].mean(), x[lag:] - x[lag:].mean()
        size = float(np.sqrt((a * a).sum() * (b * b).sum()))
        if size > 0.0 and float((a * b).sum()) / size >= least:
            return lag
    return None
