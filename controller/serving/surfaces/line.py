"""Straight lines between measured points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def on_points(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at `at`: that of the first point before it, on the line between two, with the last slope behind."""
    if at <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in pairwise(points):
        if at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    (x0, y0), (x1, y1) = points[-2:]
    return y1 + (y1 - y0) * (at - x1) / (x1 - x0)
