"""Greyhound: a change of the iteration time, verified, and then probes that say where.

Paper: Greyhound (a detector of fail-slow in hybrid-parallel training).
Follows: iterations from the calls of collectives, Bayesian change points with p > 0.9, kept if the mean changes by
    10 %; then GEMM on ranks, and messages between neighbours in 2, 3 or 4 passes.
Differs: telemetry numbers the steps, so the period (`controller.diagnosis.change_point.period_of`) is known; all groups
    are probed, and not only those that take 10 % longer than the median of their kind. What probes find is compared
    with the median of the same probe, for messages of the same kind of way (inside a host or between hosts). Fail-stop
    is not its business.
"""

from __future__ import annotations

import numpy as np

from controller.diagnosis.blame import blame_pairs
from controller.diagnosis.change_point import change_points, verified
from controller.diagnosis.probe_passes import passes
from controller.diagnosis.telemetry import (
    JobStarted,
    OperationRecords,
    ProbeResults,
    TelemetryEvent,
    TransportRecords,
)
from controller.diagnosis.verdicts import Answer, Probe, Suspect, Verdict

EVERY_S, KEPT, LEAST_STEPS, TOO_LONG = 10.0, 160, 20, 1.10
MOST_PASSES = 4


class Greyhound:
    """Watches iterations, and probes when one kind of them has become slower."""

    def __init__(self) -> None:
        self._job: JobStarted | None = None
        self._ends: dict[int, float] = {}
        self._pairs: set[tuple[int, int]] = set()
        self._judged_at = 0.0
        self._judged_step = -1
        self._known: set[int] = set()
        self._raised: set[Suspect] = set()

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers iterations and probes, and judges every 10 s."""
        if isinstance(event, JobStarted):
            self._job = event
        elif isinstance(event, OperationRecords):
            done = event.done_at[np.isfinite(event.done_at)]
            if len(done):
                self._ends[event.step] = max(self._ends.get(event.step, 0.0), float(np.median(done)))
        elif isinstance(event, TransportRecords):
            if len(self._pairs) < len(event.source):
                self._pairs |= set(zip(event.source.tolist(), event.target.tolist(), strict=True))
        elif isinstance(event, ProbeResults):
            return Answer(self._locate(event, now), self._judged_at + EVERY_S)
        if event is not None:
            return Answer(wake_at=self._judged_at + EVERY_S)
        self._judged_at = now
        return Answer(probes=self._suspect(), wake_at=now + EVERY_S)

    def _suspect(self) -> tuple[Probe, ...]:
        while len(self._ends) > KEPT:
            del self._ends[min(self._ends)]
        steps = sorted(self._ends)[:-1]
        if self._job is None or len(steps) < LEAST_STEPS or steps[-1] == self._judged_step:
            return ()
        self._judged_step = steps[-1]
        times = np.diff([self._ends[step] for step in steps])
        found = verified(times, change_points(times))
        # A change may move by some steps as more of it is seen; it is the same one then.
        new = [steps[at] for at in found if all(abs(steps[at] - known) > 10 for known in self._known)]
        if not new:
            return ()
        self._known.update(new)
        ranks = range(len(self._job.devices))
        return (
            Probe("gemm", tuple((rank, rank) for rank in ranks)),
            *(Probe("p2p", each) for each in passes(self._pairs)[:MOST_PASSES]),
        )

    def _locate(self, event: ProbeResults, now: float) -> tuple[Verdict, ...]:
        assert self._job is not None, "probes are asked for by a job"
        devices, hosts = self._job.devices, self._job.hosts
        found: list[Verdict] = []
        if event.kind == "gemm":
            usual = float(np.median(event.took_s))
            for rank, took in zip(event.source.tolist(), event.took_s.tolist(), strict=True):
                if took > TOO_LONG * usual:
                    found.append(self._verdict(Suspect("device", devices[rank]), "slow", took / usual, now))
        else:
            inside = np.array([hosts[a] == hosts[b] for a, b in zip(event.source, event.target, strict=True)])
            bad: dict[tuple[int, int], float] = {}
            for kind in (True, False):
                here = np.flatnonzero(inside == kind)
                usual = float(np.median(event.took_s[here])) if len(here) > 2 else np.inf
                for at in here.tolist():
                    if event.took_s[at] > TOO_LONG * usual:
                        bad[int(event.source[at]), int(event.target[at])] = float(event.took_s[at] / usual)
            for suspect, ratio in sorted(blame_pairs(bad, self._pairs, devices).items()):
                found.append(self._verdict(suspect, "slow transfer", ratio, now))
        new = tuple(each for each in found if each.suspect not in self._raised)
        self._raised |= {each.suspect for each in new}
        return new

    def _verdict(self, suspect: Suspect, kind: str, ratio: float, now: float) -> Verdict:
        return Verdict(suspect, kind, now, ratio, 0.9, f"its probe takes {ratio:.2f} times the median")
