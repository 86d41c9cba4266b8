"""Sets of intervals of time, for asking how long anything of a kind went on, and how long two kinds did together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def union(start_at: FloatArray, end_at: FloatArray) -> FloatArray:
    """Disjoint intervals (n, 2) in ascending order that cover the given ones; empty ones are left out."""
    kept = end_at > start_at
    return merge([np.stack([start_at[kept], end_at[kept]], axis=1)])


def merge(parts: Sequence[FloatArray]) -> FloatArray:
    """The union of sets of intervals, disjoint and ascending (n, 2)."""
    whole = np.concatenate([*parts, np.empty((0, 2))])
    if not len(whole):
        return whole
    whole = whole[np.argsort(whole[:, 0], kind="stable")]
    reach = np.maximum.accumulate(whole[:, 1])
    first = np.concatenate([[True], whole[1:, 0] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([whole[first, 0], reach[last]], axis=1)


def length(intervals: FloatArray) -> float:
    """Sum of the lengths of disjoint intervals."""
    return float((intervals[:, 1] - intervals[:, 0]).sum())


def common_length(one: FloatArray, other: FloatArray) -> float:
    """Length of the intersection of two unions."""
    return length(one) + length(other) - length(merge([one, other]))
