"""What-if analysis while the job runs: which rank would make the steps faster if it were as fast as its peers?

Paper: Understanding Stragglers in Large Model Training Using What-if Analysis (ByteDance).
Follows: a step without stragglers is one in which every rank takes the mean of its peers; a rank is blamed when
    repairing it alone brings most of the gain.
Differs: a step counts as the slowest rank's own time, since all wait for it; judged over windows of 20 steps, from a
    slowdown of 1.1 on, which is what the authors call a straggling job.
Not seen: messages, and operations that never end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.telemetry import JobStarted, OperationRecords, TelemetryEvent
from controller.diagnosis.verdicts import Answer, Suspect, Verdict

WINDOW, STRAGGLING, MOST_OF_GAIN, EVERY_S = 20, 1.1, 0.5, 10.0


class WhatIfWatch:
    """Judges complete windows, one after the other."""

    def __init__(self) -> None:
        self._job: JobStarted | None = None
        self._own: dict[int, NDArray[np.float64]] = {}
        self._at: dict[int, float] = {}
        self._raised: set[Suspect] = set()
        self._judged_at = 0.0

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers what ranks did on their own, and judges every window."""
        if isinstance(event, JobStarted):
            self._job = event
        elif isinstance(event, OperationRecords) and self._job is not None:
            sums = self._own.setdefault(event.step, np.zeros(len(self._job.devices)))
            sums[event.ranks] += event.own_s
            self._at.setdefault(event.step, event.at_s)
        if event is not None:
            return Answer(wake_at=self._judged_at + EVERY_S)
        self._judged_at = now
        return Answer(self._judge(), now + EVERY_S)

    def _judge(self) -> tuple[Verdict, ...]:
        steps = sorted(self._own)[:-1]
        if self._job is None or len(steps) < WINDOW:
            return ()
        used = steps[:WINDOW]
        # Over the median of its window a pause of one step counts for nothing.
        own = np.median(np.stack([self._own.pop(step) for step in used]), axis=0)
        since = self._at[used[0]]
        for step in used:
            self._at.pop(step, None)
        roles = np.array(self._job.roles)
        ideal = np.array([own[roles == role].mean() for role in roles])
        time_s, ideal_s = float(own.max()), float(ideal.max())
        if ideal_s <= 0.0 or time_s / ideal_s < STRAGGLING:
            return ()
        worst = int(own.argmax())
        repaired = own.copy()
        repaired[worst] = ideal[worst]
        gain = (time_s - max(float(repaired.max()), ideal_s)) / (time_s - ideal_s)
        suspect = Suspect("device", self._job.devices[worst])
        if gain < MOST_OF_GAIN or suspect in self._raised:
            return ()
        self._raised.add(suspect)
        evidence = f"repairing it brings {gain:.0%} of the gain".replace("%", " %")
        return (Verdict(suspect, "slow", since, time_s / ideal_s, gain, evidence),)
