"""Makes the probes that detectors ask for: on the hardware as it is at that instant, and at the job's expense."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from controller.collectives.call import Call
from controller.collectives.group import group_of
from controller.diagnosis.executed import Executions
from controller.diagnosis.replay import HEALTHY, Strike
from controller.diagnosis.telemetry import ProbeResults
from controller.diagnosis.verdicts import Probe

GEMM_SHARE = 0.02
"""Time of the probe's GEMM over the compute of a step; assumed."""
MESSAGE = 1 << 22
"""Elements of a probe's message."""


class Probed(Protocol):
    """What can be measured: the hardware, and a device for each rank."""

    executions: Executions
    devices: tuple[str, ...]


class Prober:
    """Measures devices and pairs.

    Attributes:
        strike: what is wrong at present.

    Args:
        job: whose ranks are measured.
        compute_s: of a step [s].
    """

    def __init__(self, job: Probed, compute_s: float) -> None:
        self.strike: Strike = HEALTHY
        self._job, self._gemm_s = job, GEMM_SHARE * compute_s

    def measure(self, probe: Probe, now: float) -> tuple[ProbeResults, float]:
        """What a probe finds, and how long the ranks were held up by it [s]."""
        source = np.array([pair[0] for pair in probe.pairs], np.int64)
        target = np.array([pair[1] for pair in probe.pairs], np.int64)
        if probe.kind == "gemm":
            slow = dict(self.strike.slow)
            took = np.array([self._gemm_s * slow.get(rank, 1.0) for rank in source.tolist()])
        else:
            took = np.array([self._message_s(a, b) for a, b in probe.pairs])
        longest = float(took[np.isfinite(took)].max(initial=0.0))
        return ProbeResults(now + longest, probe.kind, source, target, took), longest

    def _message_s(self, source: int, target: int) -> float:
        """Both ways, since a pair is measured in both directions [s]."""
        executions, devices = self._job.executions, self._job.devices
        found = 0.0
        for a, b in ((source, target), (target, source)):
            group = group_of(executions.topology, [devices[a], devices[b]])
            call = Call("broadcast", group, MESSAGE, "fp32")
            found = max(found, executions.of(call, "chain").run(self.strike.changes).time_s)
        return found
