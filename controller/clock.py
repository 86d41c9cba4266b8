"""The only file of `controller` that reads or waits for the wall clock."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path


def wall_clock_s() -> float:
    """The monotonic clock that every process of this machine shares [s]; for durations and deadlines."""
    return time.monotonic()


def machine() -> str:
    """Names the running system whose monotonic clock this process reads; equal where `wall_clock_s` is one clock."""
    booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{booted} {os.readlink('/proc/self/ns/time')}"


def calendar_now() -> datetime:
    """The date, for certificates alone."""
    return datetime.now(UTC)


def sleep_s(duration_s: float) -> None:
    """Waits [s of wall time]."""
    time.sleep(duration_s)
