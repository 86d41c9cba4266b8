"""Sizes at which times are executed, and the line between two of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache


@cache
def between(size: int, grain: int, most: int) -> tuple[int, int]:
    """The sizes around `size` that are executed: `grain` an octave and all up to `grain`, none above `most`."""
    if grain <= 0 or size <= grain:
        return size, size
    step = 1 << max(0, (size // grain).bit_length() - 1)
    low = size // step * step
    return (low, low) if low == size else (low, max(size, min(low + step, most)))


def on_line(size: int, low: int, high: int, value: Callable[[int], float]) -> float:
    """The value at `size` on the line between those at `low` and `high`."""
    first = value(low)
    if low == high:
        return first
    return first + (value(high) - first) * (size - low) / (high - low)
