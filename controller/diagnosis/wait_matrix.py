"""Who waited for whom over an interval, as a matrix: what C4D and DeepXTrace judge by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.telemetry import JobStarted, OperationRecords, TelemetryEvent, TransportRecords

Times = NDArray[np.float64]


class WaitMatrix:
    """Cumulative time that rank i waited to receive from rank j (i, j).

    Attributes:
        job: the ranks.
        waits: the matrix since it was last emptied [s]; None before the job has started.
        messages: how many records went into each cell.
    """

    def __init__(self) -> None:
        self.job: JobStarted | None = None
        self.waits: Times = np.zeros((0, 0))
        self.messages: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self.is_exchange = False
        self.own_s: Times = np.zeros(0)

    def add(self, event: TelemetryEvent) -> None:
        """Takes an event."""
        if isinstance(event, JobStarted):
            self.job = event
            self.empty()
        elif isinstance(event, TransportRecords):
            np.add.at(self.waits, (event.target, event.source), event.waited_s + event.transferred_s)
            np.add.at(self.messages, (event.target, event.source), 1)
            self.is_exchange |= event.what == "all_to_all"
        elif isinstance(event, OperationRecords):
            np.add.at(self.own_s, event.ranks, event.own_s)

    def empty(self) -> None:
        """Begins a new interval."""
        size = 0 if self.job is None else len(self.job.devices)
        self.waits, self.messages = np.zeros((size, size)), np.zeros((size, size), np.int64)
        self.own_s = np.zeros(size)


def flagged(
    waits: Times, known: NDArray[np.bool_], *, by_median: bool, line: float, point: float
) -> tuple[dict[int, float], dict[int, float], dict[tuple[int, int], float]]:
    """Columns, rows and points of a matrix that stand out, with how many times above the rest they are.

    Args:
        waits: of rank i for rank j (n, n).
        known: cells that hold anything (n, n).
        by_median: whether the rest is the median of the others, and not the mean of all.
        line: ratio above which a column or row stands out.
        point: ratio above which a cell outside of those does.
    """

    def means(axis: int) -> Times:
        counts = known.sum(axis=axis)
        return np.where(counts > 0, np.where(known, waits, 0.0).sum(axis=axis) / np.maximum(counts, 1), np.nan)

    def standing_out(values: Times) -> dict[int, float]:
        there = values[np.isfinite(values)]
        if len(there) < 2:
            return {}
        rest = float(np.median(there) if by_median else there.mean())
        if rest <= 0.0:
            return {}
        return {int(at): float(values[at] / rest) for at in np.flatnonzero(np.nan_to_num(values) / rest > line)}

    columns, rows = standing_out(means(0)), standing_out(means(1))
    cells = waits[known]
    rest = float(np.median(cells) if by_median else cells.mean()) if len(cells) else 0.0
    points: dict[tuple[int, int], float] = {}
    if rest > 0.0:
        for i, j in np.argwhere(known & (waits > point * rest)).tolist():
            if i not in rows and j not in columns:
                points[i, j] = float(waits[i, j] / rest)
    return columns, rows, points
