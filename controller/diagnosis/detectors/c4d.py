"""C4D: a matrix of delays, judged by means every 20 seconds, and operations that hang for five minutes.

Paper: C4, arXiv 2406.04594; constants of its open relative DeepXTrace (antgroup/DeepXTrace, diagnose.py).
Follows: column or row over 3 times the mean of all, point over 5 times the mean, 20 s; hang after 5 minutes, blamed on
    the rank with the lowest count, or on connections that stand still.
Differs: in a ring or a tree the matrix has one or two cells a row and every rank waits alike for the one before it, so
    no column stands out; there the rank that waited least is named, when the others waited `RING_RATIO` times as long.
Checked by: tests/unit/controller/diagnosis/detectors/test_c4d.py, its floor for one bad column and for several
"""

from __future__ import annotations

from math import inf

import numpy as np

from controller.diagnosis.stall import StallWatch
from controller.diagnosis.telemetry import TelemetryEvent
from controller.diagnosis.verdicts import Answer, Suspect, Verdict
from controller.diagnosis.wait_matrix import WaitMatrix, flagged

PERIOD_S, LINE, POINT = 20.0, 3.0, 5.0
HANG_S = 300.0
SILENT_S = 30.0
RING_RATIO = 3.0


class C4D:
    """The published rule."""

    by_median, line, point = False, LINE, POINT

    def __init__(self) -> None:
        self._stall, self._matrix = StallWatch(), WaitMatrix()
        self._judged_at = 0.0
        self._raised: dict[Suspect, None] = {}
        self._hung = False

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Gathers, and judges every 20 s."""
        if event is not None:
            self._stall.add(event)
            self._matrix.add(event)
            return Answer(wake_at=self._judged_at + PERIOD_S)
        self._judged_at = now
        found = list(self._slow(now))
        self._matrix.empty()
        if not self._hung and now - self._stall.since > HANG_S:
            hung = self._stall.verdicts(now, SILENT_S, HANG_S)
            self._hung = bool(hung)
            found += hung
        new = tuple(each for each in found if each.suspect not in self._raised)
        self._raised |= dict.fromkeys(each.suspect for each in new)
        return Answer(new, now + PERIOD_S)

    def _slow(self, now: float) -> list[Verdict]:
        job, waits = self._matrix.job, self._matrix.waits
        known = self._matrix.messages > 0
        if job is None or not known.any() or np.isfinite(self._stall.since):
            return []
        since = now - PERIOD_S
        if not self._matrix.is_exchange:
            return self._waits_least(job.devices, since)
        columns, rows, points = flagged(waits, known, by_median=self.by_median, line=self.line, point=self.point)
        found = [
            Verdict(Suspect("device", job.devices[rank]), "slow", since, ratio, 0.7, "everybody waits for it")
            for rank, ratio in columns.items()
        ]
        found += [
            Verdict(Suspect("nic", job.devices[rank]), "slow transfer", since, ratio, 0.6, "it waits for everybody")
            for rank, ratio in rows.items() if rank not in columns
        ]  # fmt: skip
        found += [
            Verdict(
                Suspect("path", f"{job.devices[j]}->{job.devices[i]}"),
                "slow transfer",
                since,
                ratio,
                0.6,
                "one cell is slow",
            )
            for (i, j), ratio in points.items()
        ]
        return found

    def _waits_least(self, devices: tuple[str, ...], since: float) -> list[Verdict]:
        """In a ring or tree the late rank waits for nobody, and all others for the one before them."""
        total = self._matrix.waits.sum(axis=1)
        least, middle = int(total.argmin()), float(np.median(total))
        if len(total) < 3 or middle <= RING_RATIO * max(float(total[least]), 1e-12) or middle < 0.02 * PERIOD_S:
            return []
        ratio = min(middle / max(float(total[least]), 1e-12), 1e6)
        return [Verdict(Suspect("device", devices[least]), "slow", since, ratio, 0.6, "it waits least of all")]


class MedianC4D(C4D):
    """The same with medians, which several bad columns do not hide."""

    by_median, line, point = True, 1.6, 3.0


def floor_of_one(ranks: int) -> float:
    """How many times slower one bad column of `ranks` must be for the mean rule to see it; inf where it never does."""
    return LINE * (ranks - 1) / (ranks - LINE) if ranks > LINE else inf


def floor_of(bad: int, ranks: int) -> float:
    """The same for `bad` equally bad columns, which raise the mean that they are compared with."""
    return LINE * (ranks - bad) / (ranks - LINE * bad) if ranks > LINE * bad else inf
