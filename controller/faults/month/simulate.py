"""Months of a job under drawn failures, and the ledger of where their time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controller.faults.month.checkpoints import NOWHERE, WITH_HOST, CheckpointPolicy
from controller.faults.month.recovery import RecoveryPolicy
from controller.faults.month.speed import FULL, Episode, Speed
from controller.faults.month.ticks import ticks
from controller.faults.rates.draw import DrawnFailure, draw, repair_s
from controller.faults.rates.failure_rates import FailureRates

ROWS = ("useful", "lost", "detect", "diagnose", "reinit", "slow", "stall")
"""Rows of the ledger; ``stall`` is writing checkpoints and waiting for a host."""
SLOWED_SHARE = 8
"""Data-parallel groups over which micro-batches move away from a slow one; assumed."""


@dataclass(frozen=True, slots=True)
class MonthJob:
    """A job and how it is kept alive.

    Attributes:
        rates: how often what fails.
        gpus: it trains on so many.
        for_s: length of a month [s].
        checkpoints, recovery: the policies.
        spares: hosts that stand by; None for as many as are needed.
        detect_s, diagnose_s, reinit_s: cost of an interruption [s].
        strikes_down: whether a failure may strike while the job is down, and begins its recovery anew.
    """

    rates: FailureRates
    gpus: int
    for_s: float
    checkpoints: CheckpointPolicy
    recovery: RecoveryPolicy
    spares: int | None
    detect_s: float
    diagnose_s: float
    reinit_s: float
    strikes_down: bool = False

    @property
    def hosts(self) -> int:
        """Hosts that it trains on."""
        return -(-self.gpus // self.rates.gpus_per_host)

    @property
    def mttf_s(self) -> float:
        """Mean time between failures that stop it, by its rates [s]."""
        return 3600.0 / (self.rates.per_gpu_hour() * self.gpus)

    @property
    def recovery_s(self) -> float:
        """What an interruption costs beside lost work [s]."""
        recovery = self.recovery
        diagnose_s = self.diagnose_s if recovery.diagnoses else 0.0
        return self.detect_s + diagnose_s + recovery.reinit_ratio * self.reinit_s + self.checkpoints.read_s


@dataclass(slots=True)
class MonthLedger:
    """Where time went.

    Attributes:
        rows: ticks by row.
        failures: that struck while the job ran.
        torn: checkpoints that a failure cut off.
        both_lost: failures that took every fast copy of the state.
        up: ticks in which a failure could strike.
    """

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROWS, 0))
    failures: int = 0
    torn: int = 0
    both_lost: int = 0
    up: int = 0

    @property
    def wall(self) -> int:
        """All of them together."""
        return sum(self.rows.values())

    def add(self, other: MonthLedger) -> None:
        """Adds another ledger to this one."""
        for row, value in other.rows.items():
            self.rows[row] += value
        self.failures += other.failures
        self.torn += other.torn
        self.both_lost += other.both_lost
        self.up += other.up


@dataclass(slots=True)
class _Stretch:
    """An uninterrupted stretch of training and checkpoints that is kept: from where on, and how much of it."""

    start: int
    length: int


class _Month:
    """One month as it goes on."""

    def __init__(self, job: MonthJob, failures: Sequence[DrawnFailure], random: np.random.Generator) -> None:
        self.job, self.random = job, random
        self.end = ticks(job.for_s)
        policy = job.checkpoints
        self.interval, self.stall, self.whole = map(ticks, (policy.interval_s, policy.stall_s, policy.whole_s))
        self.period = self.interval + self.stall
        self.ledger = MonthLedger()
        self.kept: list[_Stretch] = []
        self.remote: tuple[int, int] = (0, 0)
        """Stretch and length within it that the newest remote checkpoint holds."""
        self.short: list[Episode] = []
        self.shrunk = Speed(())
        self.back_at: list[int] = []
        self.free = job.spares
        self.stops = [each for each in failures if each.cause.kind in ("dead", "frozen")]
        self.slow = Speed(self._slow_episodes([each for each in failures if each.cause.kind not in ("dead", "frozen")]))

    def run(self) -> MonthLedger:
        now, number = 0, 0
        while now < self.end:
            while number < len(self.stops) and ticks(self.stops[number].at_s) < now:
                number += 1
            struck_at = ticks(self.stops[number].at_s) if number < len(self.stops) else self.end
            struck_at = min(struck_at, self.end)
            self.kept.append(_Stretch(now, struck_at - now))
            self.ledger.up += struck_at - now
            now = struck_at
            if number < len(self.stops) and now < self.end:
                now, number = self._recover(now, number)
        self.shrunk = Speed(self.short)
        for stretch in self.kept:
            self._count(stretch)
        return self.ledger

    def _recover(self, now: int, number: int) -> tuple[int, int]:
        """The instant at which the job goes on, and the next failure."""
        job, ledger, recovery = self.job, self.ledger, self.job.recovery
        while True:
            failure = self.stops[number]
            together = [failure]
            while number + 1 < len(self.stops) and self.stops[number + 1].at_s == failure.at_s:
                number += 1
                together.append(self.stops[number])
            number += 1
            ledger.failures += 1
            self._roll_back(together)
            parts = [("detect", job.detect_s)]
            if recovery.diagnoses:
                parts.append(("diagnose", job.diagnose_s))
            plan = [(row, ticks(lasts_s)) for row, lasts_s in parts]
            plan.append(("stall", self._wait_for_hosts(now + sum(lasts for _, lasts in plan), together)))
            plan.append(("reinit", ticks(job.reinit_s * recovery.reinit_ratio + job.checkpoints.read_s)))
            next_at = ticks(self.stops[number].at_s) if number < len(self.stops) else self.end
            again = False
            for row, lasts in plan:
                until = min(now + lasts, self.end)
                if job.strikes_down and next_at < until:
                    until, again = max(now, next_at), True
                ledger.rows[row] += until - now
                now = until
                if again:
                    break
            if not again:
                return now, number

    def _roll_back(self, together: Sequence[DrawnFailure]) -> None:
        """Keeps of the stretches what a copy of the state that is left holds; the rest is lost."""
        job, policy = self.job, self.job.checkpoints
        last = self.kept[-1]
        hosts = {failure.host for failure in together}
        has_twin = any(host ^ 1 in hosts for host in hosts)
        if not job.recovery.rolls_back and not has_twin:
            return
        whole = max(0, (last.length + self.stall - self.whole) // self.period) if self.period else 0
        started = (last.length + self.stall) // self.period
        self.ledger.torn += started > whole
        remote = whole // policy.remote_every * policy.remote_every
        if remote:
            self.remote = (len(self.kept) - 1, remote * self.period - self.stall)
        gone = policy.lost != NOWHERE and (
            any(each.cause.strikes == "host" for each in together) if policy.lost == WITH_HOST else has_twin
        )
        if not gone:
            self._keep(len(self.kept) - 1, whole * self.period - self.stall if whole else 0)
        else:
            self.ledger.both_lost += 1
            self._keep(*self.remote)

    def _keep(self, stretch: int, length: int) -> None:
        rows = self.ledger.rows
        for each in self.kept[stretch + 1 :]:
            lost = self._training(each.length)
            rows["lost"] += lost
            rows["stall"] += each.length - lost
        del self.kept[stretch + 1 :]
        last = self.kept[stretch]
        lost = self._training(last.length) - self._training(length)
        rows["lost"] += lost
        rows["stall"] += last.length - length - lost
        last.length = length

    def _training(self, length: int) -> int:
        """Of the first `length` of a stretch what is training and not writing."""
        cycles, rest = divmod(length, self.period)
        return cycles * self.interval + min(rest, self.interval)

    def _count(self, stretch: _Stretch) -> None:
        """Adds a stretch that was kept to the ledger."""
        rows, training = self.ledger.rows, self._training(stretch.length)
        rows["stall"] += stretch.length - training
        speeds = (self.slow, self.shrunk)
        if all(speed.is_full(stretch.start, stretch.start + stretch.length) for speed in speeds):
            rows["useful"] += training
            return
        start, end = stretch.start, stretch.start + stretch.length
        while start < end:
            until = min(start + self.interval, end)
            useful = min(speed.useful(start, until) for speed in speeds)
            rows["useful"] += useful
            rows["slow"] += until - start - useful
            start = until + self.stall

    def _wait_for_hosts(self, now: int, together: Sequence[DrawnFailure]) -> int:
        """How long the job waits for hosts; what failed goes to be repaired."""
        job, recovery = self.job, self.job.recovery
        back = sorted(now + ticks(repair_s(job.rates, self.random)) for _ in {each.host for each in together})
        if recovery.runs_short:
            share = FULL * max(1, job.hosts - len(back)) // job.hosts
            self.short += [(now, at, share) for at in back]
            return 0
        if not recovery.takes_host:
            return back[-1] - now
        if self.free is None:
            return 0
        diagnosed = now + ticks(job.diagnose_s)
        self.back_at += back + [diagnosed] * recovery.takes_neighbours
        self.back_at.sort()
        needed, until = len(back) + recovery.takes_neighbours, now
        while self.back_at and self.back_at[0] <= now:
            self.back_at.pop(0)
            self.free += 1
        while needed > self.free and self.back_at:
            until = max(until, self.back_at.pop(0))
            self.free += 1
        self.free -= needed
        return until - now

    def _slow_episodes(self, failures: Sequence[DrawnFailure]) -> list[Episode]:
        job = self.job
        found: list[Episode] = []
        for failure in failures:
            start = ticks(failure.at_s)
            lasts_s = float(self.random.exponential(failure.cause.mean_s)) if failure.cause.mean_s else job.for_s
            speed = failure.severity if failure.severity < 1.0 else 1.0 / failure.severity
            if job.recovery.name == "microbatches":
                speed = 1.0 / (1.0 + (1.0 / speed - 1.0) / SLOWED_SHARE)
            elif job.recovery.name == "isolate":
                lasts_s = min(lasts_s, job.detect_s)
            found.append((start, start + ticks(lasts_s), max(1, round(FULL * speed))))
        return found


def failures_of(job: MonthJob, seed: int, months: int) -> list[list[DrawnFailure]]:
    """The failures of each month: the same for every policy."""
    return [draw(job.rates, job.hosts, job.for_s, np.random.default_rng([seed, month, 1])) for month in range(months)]


def simulate(
    job: MonthJob, seed: int, failures: Sequence[Sequence[DrawnFailure]]
) -> tuple[MonthLedger, tuple[float, ...]]:
    """The ledger of many months together, and the share of each in which the job made progress that was kept.

    Args:
        job: what runs.
        seed: of repairs and of how long slowness lasts.
        failures: of each month.
    """
    total, shares = MonthLedger(), []
    for month, own in enumerate(failures):
        ledger = _Month(job, own, np.random.default_rng([seed, month, 2])).run()
        shares.append((ledger.rows["useful"] + ledger.rows["slow"]) / ledger.wall)
        total.add(ledger)
    return total, tuple(shares)
