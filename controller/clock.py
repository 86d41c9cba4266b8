"""The only file of `controller` that reads or waits for the wall clock."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path


def wall_clock_s() -> float:
    """The monotonic clock that every process of this machine shares [s]; for durations and deadlines."""
    return time.monotonic()


def process_age_s() -> float:
    """How long ago this process was started [s of wall time].

    Source: proc(5), field 22 of stat: clock ticks from the start of the system.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Names the running system whose monotonic clock this process reads; equal where `wall_clock_s` is one clock."""
    booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{booted} {os.readlink('/proc/self/ns/time')}"


def calendar_now() -> datetime:
    """The date, for certificates and for clients of an endpoint."""
    return datetime.now(UTC)


def sleep_s(duration_s: float) -> None:
    """Waits [s of wall time]."""
    time.sleep(duration_s)
