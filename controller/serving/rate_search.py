"""The highest rate at which a server attains an objective, by bisection over whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LEAST_RATIO = 0.02
"""Bisection ends when the bounds are this close."""
MOST_DOUBLINGS = 24


@dataclass(frozen=True, slots=True)
class FoundRate:
    """What the search found.

    Attributes:
        rate_per_s: highest rate that attains the objective; 0 where none does [1/s].
        attained_ratio: there; where none does, the best that was attained.
        tried: (rate, share of requests that met the objective), in the order of rates.
    """

    rate_per_s: float
    attained_ratio: float
    tried: tuple[tuple[float, float], ...]


def find_rate(attained_at: Callable[[float], float], attainment: float, start_per_s: float = 1.0) -> FoundRate:
    """The highest rate with at least `attainment`.

    Args:
        attained_at: share of requests that meet the objective at a rate.
        attainment: share that has to.
        start_per_s: rate that is tried first [1/s].
    """
    tried: dict[float, float] = {}

    def good(rate: float) -> bool:
        tried[rate] = attained_at(rate)
        return tried[rate] >= attainment

    low, high = 0.0, start_per_s
    for _ in range(MOST_DOUBLINGS):
        if not good(high):
            break
        low, high = high, high * 2
    if not low:
        low = high / 2
        for _ in range(MOST_DOUBLINGS):
            if good(low):
                break
            low, high = low / 2, low
            if low < start_per_s / 2**10:
                best = max(tried.values())
                return FoundRate(0.0, best, tuple(sorted(tried.items())))
    while high / low > 1 + LEAST_RATIO:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if good(middle) else (low, middle)
    return FoundRate(low, tried[low], tuple(sorted(tried.items())))
