"""NCCL's watchdog in PyTorch: an operation that is not done after ten minutes ends the job.

Follows: the time limit of ten minutes, looked at every 30 s (torch ProcessGroupNCCL). It says which ranks have not
    entered, as the heartbeat monitor's desync report does, and knows nothing of slowness.
"""

from __future__ import annotations

from controller.diagnosis.stall import StallWatch
from controller.diagnosis.telemetry import TelemetryEvent
from controller.diagnosis.verdicts import Answer

LIMIT_S, EVERY_S, SILENT_S = 600.0, 30.0, 60.0


class Watchdog:
    """Speaks on silence."""

    def __init__(self) -> None:
        self._stall = StallWatch()
        self._spoken = False
        self._judged_at = 0.0

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers, and looks every 30 s."""
        if event is not None:
            self._stall.add(event)
            return Answer(wake_at=self._judged_at + EVERY_S)
        self._judged_at = now
        if self._spoken or now - self._stall.since <= LIMIT_S:
            return Answer(wake_at=now + EVERY_S)
        found = self._stall.verdicts(now, SILENT_S, LIMIT_S)
        self._spoken = bool(found)
        return Answer(found, now + EVERY_S)
