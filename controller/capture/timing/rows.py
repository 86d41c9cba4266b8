"""Activities of the engine, written down one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.engine import Activities

PRECISION = 1000.0
"""Rates of kernels are counted in units so much smaller than those of collectives. The engine shares rates max-min
fairly, so a collective has all that it needs before a kernel is slowed down: its multiprocessors are its own while it
lasts."""


@dataclass
class Rows:
    """Rows so far; a row is an index into every list."""

    work: list[float] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    rate_limit: list[float] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)
    loads: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    after: list[tuple[int, ...]] = field(default_factory=list)

    def waiting(self, latency_s: float, queue: int, after: Iterable[int] = ()) -> int:
        """A row that only takes time."""
        return self._add(0.0, latency_s, float("inf"), queue, (), after)

    def kernel(
        self, time_s: float, start_s: float, queue: int, loads: Sequence[tuple[int, float]], after: Iterable[int]
    ) -> int:
        """A row that takes `time_s` alone, and longer where its resources are short.

        Args:
            time_s: alone [s].
            start_s: before it [s].
            queue: that it starts in.
            loads: (resource of capacity 1, share of it that it takes).
            after: rows that have to end before.
        """
        scaled = tuple((resource, share / PRECISION) for resource, share in loads if share > 0.0)
        return self._add(time_s * PRECISION, start_s, PRECISION, queue, scaled, after)

    def shared(self, time_s: float, loads: Sequence[tuple[int, float]], after: Iterable[int]) -> int:
        """A row outside of any queue that takes `time_s` alone, ahead of all kernels."""
        return self._add(time_s, 0.0, 1.0, -1, tuple((each, share) for each, share in loads if share > 0.0), after)

    def activities(self) -> Activities:
        """The rows as arrays."""
        load_start = np.zeros(len(self.work) + 1, np.int64)
        np.cumsum([len(each) for each in self.loads], out=load_start[1:])
        dep_start = np.zeros(len(self.work) + 1, np.int64)
        np.cumsum([len(each) for each in self.after], out=dep_start[1:])
        return Activities(
            work=np.array(self.work),
            latency_s=np.array(self.latency_s),
            rate_limit=np.array(self.rate_limit),
            queue=np.array(self.queue, np.int32),
            load_start=load_start,
            load_resource=np.array([number for each in self.loads for number, _ in each], np.int32),
            load_weight=np.array([share for each in self.loads for _, share in each], np.float64),
            dep_start=dep_start,
            dep=np.array([row for each in self.after for row in each], np.int32),
        )

    def _add(
        self, work: float, latency_s: float, rate: float, queue: int, loads: tuple[tuple[int, float], ...],
        after: Iterable[int],
    ) -> int:  # fmt: skip
        self.work.append(work)
        self.latency_s.append(latency_s)
        self.rate_limit.append(rate)
        self.queue.append(queue)
        self.loads.append(loads)
        self.after.append(tuple(dict.fromkeys(after)))
        return len(self.work) - 1
