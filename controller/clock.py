"""The only file of `controller` that reads or waits for the wall clock."""

from __future__ import annotations

import time


def wall_clock_s() -> float:
    """The monotonic clock that every process of this machine shares [s]; for durations and deadlines."""
    return time.monotonic()


def sleep_s(duration_s: float) -> None:
    """Waits [s of wall time]."""
    time.sleep(duration_s)
