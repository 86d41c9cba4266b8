"""Faults on live node processes, from the same timeline as virtual runs: real signals at instants of wall time.

============  ==========================================================================================
dead          SIGKILL; a process that has ended stays so, whatever the fault says of its end
frozen        SIGSTOP, and SIGCONT when the fault ends
slow          SIGSTOP and SIGCONT in turns, so that the process runs 1 / severity of every `SLICE_S`
============  ==========================================================================================

A fault of a host or rack strikes the processes of all its devices. Times count from `Injection.begin`, which is when
the first plan of the run is about to start. Nodes cannot be told to throttle a tier, to drop a link or to try reads
again: such faults are refused here, and run on the virtual clock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from threading import Event as Gate
from threading import Thread

from controller.clock import wall_clock_s
from controller.errors import BadTopology
from controller.faults.effects import Effects, EffectsOf
from controller.faults.timeline import Timeline
from controller.topology.fault import DEAD, FROZEN, SLOW

SLICE_S = 0.05
"""Of which a slow process runs a part [s of wall time]."""
LIVE_KINDS = (DEAD, FROZEN, SLOW)


def check_live(timeline: Timeline) -> None:
    """Refuses faults that no signal can bring about.

    Raises:
        BadTopology: names the first of them, and what to write.
    """
    for fault in timeline.faults:
        if fault.kind not in LIVE_KINDS or fault.target.kind not in ("device", "process", "host", "rack"):
            raise BadTopology(
                f"{fault}: live nodes can be {', '.join(LIVE_KINDS)}, and not {fault.kind} of a {fault.target.kind}; "
                f"remove --live, or strike a device or host in one of those ways"
            )


class Injection:
    """Signals to the processes of a cluster until it is closed.

    Attributes:
        struck: device to the instant at which it was first struck [s of the wall clock].
    """

    def __init__(self, timeline: Timeline, processes: Mapping[str, int]) -> None:
        """Args are the faults, checked by `check_live`, and process ids by device."""
        self._effects, self._processes = EffectsOf(timeline), dict(processes)
        self._now = Effects()
        self._closed = Gate()
        self._thread: Thread | None = None
        self.struck: dict[str, float] = {}

    def begin(self) -> None:
        """Time 0 of the faults is now; calls after the first change nothing."""
        if self._thread is None and self._effects.instants:
            self._thread = Thread(target=self._run, args=(wall_clock_s(),), name="injection", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Ends it; what stands still goes on."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        for device in self._now.frozen | set(self._now.compute):
            self._signal(device, signal.SIGCONT)

    def __enter__(self) -> Injection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, began_at: float) -> None:
        for at_s in self._effects.instants:
            while (left := began_at + at_s - wall_clock_s()) > 0:
                if self._pause(left):
                    return
            self._apply(self._effects.at(at_s))
        while not self._closed.is_set():
            self._pause(SLICE_S if self._now.compute else 1.0)

    def _apply(self, after: Effects) -> None:
        for device in sorted(after.dead_devices - self._now.dead_devices):
            self._strike(device, signal.SIGKILL)
        for device in sorted(after.frozen - self._now.frozen):
            self._strike(device, signal.SIGSTOP)
        for device in sorted(self._now.frozen - after.frozen):
            self._signal(device, signal.SIGCONT)
        for device in after.compute.keys() - self._now.compute.keys():
            self.struck.setdefault(device, wall_clock_s())
        self._now = after

    def _pause(self, left_s: float) -> bool:
        """Waits, at most one slice while anything is slow; whether the injection was closed."""
        slow = {device: ratio for device, ratio in self._now.compute.items() if device not in self._now.frozen}
        if not slow:
            return self._closed.wait(left_s)
        slice_s = min(SLICE_S, left_s)
        runs = sorted((ratio * slice_s, device) for device, ratio in slow.items())
        passed_s = 0.0
        for device in slow:
            self._signal(device, signal.SIGCONT)
        for run_s, device in runs:
            if self._closed.wait(max(0.0, run_s - passed_s)):
                return True
            passed_s = run_s
            self._signal(device, signal.SIGSTOP)
        ended = self._closed.wait(slice_s - passed_s)
        for device in slow:
            self._signal(device, signal.SIGCONT)
        return ended

    def _strike(self, device: str, number: signal.Signals) -> None:
        self._signal(device, number)
        self.struck.setdefault(device, wall_clock_s())

    def _signal(self, device: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._processes[device], number)
