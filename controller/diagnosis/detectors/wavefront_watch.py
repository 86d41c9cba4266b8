"""The wavefront of Flight Recorder dumps, taken when nothing has moved for a while.

Follows: NVIDIA's resiliency extension, which collects dumps when a soft time limit of 60 s has passed, and follows the
    communicators to the ranks that are missing in the first operation that stands still.
Not seen: slowness, and a dead link, where all ranks are in the same operation.
"""

from __future__ import annotations

from controller.diagnosis.patrol import Patrol
from controller.diagnosis.verdicts import Verdict


class WavefrontWatch(Patrol):
    """Speaks once, about ranks alone."""

    limit_s, every_s, silent_s = 60.0, 5.0, 60.0

    def names(self, verdict: Verdict) -> bool:
        return verdict.suspect.kind == "device"
