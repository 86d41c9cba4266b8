"""Phi accrual: how unlikely it is that a sign of life is only late.

Paper: Hayashibara et al., The phi accrual failure detector (SRDS 2004); Akka's defaults.
Follows: phi = -log10(1 - F(time since the last)), F normal with mean and deviation of the last intervals; threshold 8,
    intervals of 1 s, 3 s of acceptable pause, a deviation of at least 100 ms, 1,000 intervals.
Differs: nothing; it sees processes that are gone or stand still, and no hang whose process lives on.
"""

from __future__ import annotations

from math import erfc, inf, log10, sqrt

import numpy as np

from controller.diagnosis.telemetry import JobStarted, SignsOfLife, TelemetryEvent
from controller.diagnosis.verdicts import Answer, Suspect, Verdict

THRESHOLD, PAUSE_S, LEAST_DEVIATION_S, FIRST_S, KEPT = 8.0, 3.0, 0.1, 1.0, 1000
EVERY_S = 0.5


class PhiAccrual:
    """One accrual for each rank."""

    def __init__(self) -> None:
        self._job: JobStarted | None = None
        self._heard_at = np.zeros(0)
        self._count, self._mean, self._square = np.zeros(0), np.zeros(0), np.zeros(0)
        self._raised: set[int] = set()
        self._judged_at = 0.0

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Takes signs of life, and asks twice a second who is overdue."""
        if isinstance(event, JobStarted):
            size = len(event.devices)
            self._job, self._heard_at = event, np.zeros(size)
            self._count, self._mean, self._square = np.ones(size), np.full(size, FIRST_S), np.zeros(size)
        elif isinstance(event, SignsOfLife):
            ranks = event.ranks
            interval = event.at_s - self._heard_at[ranks]
            self._count[ranks] = np.minimum(self._count[ranks] + 1, KEPT)
            step = interval - self._mean[ranks]
            self._mean[ranks] += step / self._count[ranks]
            self._square[ranks] += (step * (interval - self._mean[ranks]) - self._square[ranks]) / self._count[ranks]
            self._heard_at[ranks] = event.at_s
        if event is not None:
            return Answer(wake_at=self._judged_at + EVERY_S)
        self._judged_at = now
        return Answer(self._overdue(now), now + EVERY_S)

    def _overdue(self, now: float) -> tuple[Verdict, ...]:
        if self._job is None:
            return ()
        late = now - self._heard_at
        found = []
        for rank in np.flatnonzero(late > FIRST_S + PAUSE_S).tolist():
            deviation = max(sqrt(max(float(self._square[rank]), 0.0)), LEAST_DEVIATION_S)
            level = phi(float(late[rank]), float(self._mean[rank]) + PAUSE_S, deviation)
            if level > THRESHOLD and rank not in self._raised:
                self._raised.add(rank)
                suspect = Suspect("device", self._job.devices[rank])
                found.append(Verdict(suspect, "dead", float(self._heard_at[rank]), inf, 0.9, f"phi is {level:.3g}"))
        return tuple(found)


def phi(late_s: float, mean_s: float, deviation_s: float) -> float:
    """Suspicion that a sign of life that is `late_s` late will not come any more."""
    still = 0.5 * erfc((late_s - mean_s) / (deviation_s * sqrt(2.0)))
    return -log10(still) if still > 0.0 else 300.0
