"""Ends processes that were started in sessions of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress


def end_process(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Asks a process and all that it has started to end, and kills them when they do not [s of wall time]."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
