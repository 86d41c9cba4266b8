"""Time in whole ticks: sums of rows are exact, in floats too, since 2^-20 s is a power of two."""

from __future__ import annotations

TICKS_PER_S = 2**20


def ticks(duration_s: float) -> int:
    """A duration [s] in ticks, rounded."""
    return round(duration_s * TICKS_PER_S)


def seconds(count: int) -> float:
    """Ticks in seconds [s], to the last bit."""
    return count / TICKS_PER_S
