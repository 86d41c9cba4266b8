"""The wavefront of Flight Recorder dumps, taken when nothing has moved for a while.

Follows: NVIDIA's resiliency extension, which collects dumps when a soft time limit of 60 s has passed, and follows the
    communicators to the ranks that are missing in the first operation that stands still.
Not seen: slowness, and a dead link, where all ranks are in the same operation.
"""

from __future__ import annotations

from controller.diagnosis.stall import StallWatch
from controller.diagnosis.telemetry import TelemetryEvent
from controller.diagnosis.verdicts import Answer

SOFT_S, EVERY_S = 60.0, 5.0


class WavefrontWatch:
    """Speaks once, about ranks alone."""

    def __init__(self) -> None:
        self._stall = StallWatch()
        self._spoken = False
        self._judged_at = 0.0

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers, and looks every 5 s."""
        if event is not None:
            self._stall.add(event)
            return Answer(wake_at=self._judged_at + EVERY_S)
        self._judged_at = now
        if self._spoken or now - self._stall.since <= SOFT_S:
            return Answer(wake_at=now + EVERY_S)
        found = tuple(each for each in self._stall.verdicts(now, SOFT_S, SOFT_S) if each.suspect.kind == "device")
        self._spoken = bool(found)
        return Answer(found, now + EVERY_S)
