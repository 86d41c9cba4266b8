"""A watch that looks every so often, and speaks once when an operation has stood still for too long."""

from __future__ import annotations

from controller.diagnosis.stall import StallWatch
from controller.diagnosis.telemetry import TelemetryEvent
from controller.diagnosis.verdicts import Answer, Verdict


class Patrol:
    """What detectors of stalls share; one of its own says how long is too long, and whom it may name.

    Attributes:
        limit_s: how long an operation may stand still [s].
        every_s: time between two looks [s].
        silent_s: a rank without a sign of life for so long is dead [s].
    """

    limit_s: float
    every_s: float
    silent_s: float

    def __init__(self) -> None:
        self._stall = StallWatch()
        self._spoken = False
        self._judged_at = 0.0

    def names(self, verdict: Verdict) -> bool:
        """Whether the detector says such a thing."""
        return True

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers, and looks when it is time."""
        if event is not None:
            self._stall.add(event)
            return Answer(wake_at=self._judged_at + self.every_s)
        self._judged_at = now
        if self._spoken or now - self._stall.since <= self.limit_s:
            return Answer(wake_at=now + self.every_s)
        found = tuple(filter(self.names, self._stall.verdicts(now, self.silent_s, self.limit_s)))
        self._spoken = bool(found)
        return Answer(found, now + self.every_s)
