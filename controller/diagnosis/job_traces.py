"""Iteration times of many jobs, some with a fail-slow, drawn from what a shared cluster showed.

Source: faults.md 1.6 [P, Greyhound]: jobs of one node run 70 to 90 minutes; 6 of 392 have a fail-slow, which makes them
11.79 % slower on average and lasts 10 minutes on average. Assumed: iterations of 20 s with 1 % of noise; that a
fail-slow is at least 10 %, which is what its authors call one; and that a quarter of all jobs has level shifts of 2 to
6 %, from data and neighbours, which are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.change_point import change_points, verified, window_rule

Times = NDArray[np.float64]
ITERATION_S, NOISE = 20.0, 0.01
SHORTEST_S, LONGEST_S, LASTS_S = 70 * 60.0, 90 * 60.0, 10 * 60.0
SLOWDOWN, LEAST_SLOWDOWN = 0.1179, 0.10
SHIFTED, SHIFT = 0.25, (0.02, 0.06)
WINDOW_RATIO = 1.10


@dataclass(frozen=True, slots=True)
class JobTrace:
    """One job.

    Attributes:
        times_s: of its iterations [s].
        is_slow: whether it has a fail-slow.
    """

    times_s: Times
    is_slow: bool


def draw_jobs(count: int, seed: int, slow_share: float = 6 / 392) -> tuple[JobTrace, ...]:
    """Jobs of one node.

    Args:
        count: how many.
        seed: of what is drawn.
        slow_share: share of jobs with a fail-slow; a larger one shows more misses in fewer jobs.
    """
    found = []
    for number in range(count):
        random = np.random.default_rng([seed, number, 0x6A6F])
        steps = int(random.uniform(SHORTEST_S, LONGEST_S) / ITERATION_S)
        times = np.full(steps, ITERATION_S)
        if random.random() < SHIFTED:
            at = int(random.integers(40, steps - 40))
            times[at:] *= 1.0 + random.uniform(*SHIFT)
        is_slow = bool(number < round(slow_share * count))
        if is_slow:
            lasts = max(int(random.exponential(LASTS_S) / ITERATION_S), 10)
            at = int(random.integers(40, max(steps - lasts, 41)))
            times[at : at + lasts] *= 1.0 + LEAST_SLOWDOWN + random.exponential(SLOWDOWN - LEAST_SLOWDOWN)
        found.append(JobTrace(times * (1.0 + NOISE * random.standard_normal(steps)), is_slow))
    return tuple(found)


RULES: dict[str, Callable[[Times], bool]] = {
    "window": lambda times: bool(window_rule(times, 30, WINDOW_RATIO)),
    "change point": lambda times: bool(change_points(times)),
    "verified change point": lambda times: bool(verified(times, change_points(times))),
}
"""Rules that say whether a job has a fail-slow."""


def error_rates(jobs: Sequence[JobTrace], rule: str) -> tuple[float, float]:
    """Share of the healthy jobs that a rule blames, and share of the others that it misses."""
    said = [(RULES[rule](job.times_s), job.is_slow) for job in jobs]
    healthy = [found for found, is_slow in said if not is_slow]
    slow = [found for found, is_slow in said if is_slow]
    return sum(healthy) / max(len(healthy), 1), sum(not found for found in slow) / max(len(slow), 1)
