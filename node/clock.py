"""The only file of `node` that reads or waits for the wall clock.

Wall instants are CLOCK_MONOTONIC seconds, which every process of one machine shares; a run agrees on an `epoch` in it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

wall_now = time.monotonic
"""The wall clock, for durations and deadlines [s]."""


def machine() -> str:
    """Names the running system whose monotonic clock this process reads; equal where `wall_now` is one clock."""
    booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{booted} {os.readlink('/proc/self/ns/time')}"


_LONGEST_SLEEP_S = 3600.0


def sleep_until(wall_at: float) -> None:
    """Returns at `wall_at` on the wall clock [s] or a little later, never earlier."""
    while (left_s := wall_at - wall_now()) > 0:
        time.sleep(min(left_s, _LONGEST_SLEEP_S))  # the system refuses very long ones


@dataclass(frozen=True, slots=True)
class PacedClock:
    """Device time as a slowed-down wall clock.

    Attributes:
        epoch: wall instant of device time 0 [s].
        dilation: wall seconds per device second; above 0.
    """

    epoch: float
    dilation: float

    def now(self) -> float:
        """Device time [s]."""
        return (wall_now() - self.epoch) / self.dilation

    def wall_at(self, device_at: float) -> float:
        """The wall instant of a device time [s]."""
        return self.epoch + device_at * self.dilation

    def sleep_until(self, device_at: float) -> None:
        """Returns when device time has reached `device_at` [s], never earlier."""
        sleep_until(self.wall_at(device_at))
