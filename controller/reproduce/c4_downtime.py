"""C4's downtime of a 175B job on 2,400 GPUs, June against December 2023.

Crashes and times of an interruption come from the shares themselves, so those rows are calibration, and their figures
are recalled (M): they count nowhere. December: a re-initialisation that takes as long as in June makes its 0.15 % ten
crashes, and the other times follow. A job that is down cannot crash, so crashes are counted over the time in which it
runs; lost work follows from the interval, twice the mean of what is lost. What is accepted is the shape: downtime falls
from about a third to about a hundredth when detection and diagnosis fall from hours to minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from controller.faults.month.checkpoints import checkpoints_called
from controller.faults.month.recovery import recovery_called
from controller.faults.month.simulate import MonthJob
from controller.faults.month.summary import MonthSummary, summarise
from controller.faults.rates.failure_rates import FailureRates
from controller.faults.rates.published import C4_DECEMBER, C4_JUNE
from controller.reproduce.rows import PublishedRow, Results, Value

GPUS = 2400
MONTH_S = 720 * 3600.0
LOST_S = {"c4_june": 81 * 60.0, "c4_december": 9.9 * 60.0}
"""Work lost in a crash, from the shares [s]: half of an interval."""
SHARES = {
    "c4_june": {"lost": 7.53, "detect": 3.41, "diagnose": 19.65, "reinit": 0.60},
    "c4_december": {"lost": 0.23, "detect": 0.05, "diagnose": 0.73, "reinit": 0.15},
}
TOTALS = {"c4_june": 31.19, "c4_december": 1.16}
DOWN = ("lost", "detect", "diagnose", "reinit")


@cache
def month_of(rates: FailureRates, lost_s: float) -> MonthSummary:
    """Months of the job: checkpoints that cost nothing, twice as far apart as a crash loses."""
    down = sum(SHARES[rates.name][part] for part in ("detect", "diagnose", "reinit")) / 100.0
    rates = replace(
        rates, causes=tuple(replace(cause, per_hour=cause.per_hour / (1.0 - down)) for cause in rates.causes)
    )
    policy = checkpoints_called("blocking", 2.0 * lost_s, 0.0)
    job = MonthJob(
        rates, GPUS, MONTH_S, policy, recovery_called("restart"), None, rates.detect_s, rates.diagnose_s, rates.reinit_s
    )
    return summarise(job, seed=0, months=200, search=False)


def _share(found: MonthSummary, rows: tuple[str, ...]) -> float:
    return 100.0 * sum(found.ledger[row] for row in rows) / found.wall_s


def _ours(rates: FailureRates, rows: tuple[str, ...]) -> Callable[[Results], Value]:
    return lambda _: _share(month_of(rates, LOST_S[rates.name]), rows)


def _shape(_: Results) -> Value:
    """Whether downtime falls from about a third to about a hundredth with the times of December alone."""
    june = _share(month_of(C4_JUNE, LOST_S["c4_june"]), DOWN)
    december = _share(month_of(C4_DECEMBER, LOST_S["c4_december"]), DOWN)
    right = 20.0 < june < 40.0 and 0.5 < december < 2.0
    return f"{'a third to a hundredth' if right else 'another shape'}: {june:.1f} % to {december:.2f} %"


def _times_alone(_: Results) -> Value:
    """June's crashes and interval with December's detection and diagnosis."""
    quick = replace(C4_JUNE, detect_s=C4_DECEMBER.detect_s, diagnose_s=C4_DECEMBER.diagnose_s)
    return _share(month_of(quick, LOST_S["c4_june"]), DOWN)


def rows() -> tuple[PublishedRow, ...]:
    """The rows of the downtime table."""
    found = [
        PublishedRow("downtime", {"month": rates.name, "part": part}, "share of the month", published, "%", "M",
                     _ours(rates, (part,)), (), calibration=True)
        for rates in (C4_JUNE, C4_DECEMBER)
        for part, published in SHARES[rates.name].items()
    ]  # fmt: skip
    found += [
        PublishedRow("downtime", {"month": rates.name, "part": "all"}, "share of the month", TOTALS[rates.name], "%",
                     "S", _ours(rates, DOWN), (), calibration=True)
        for rates in (C4_JUNE, C4_DECEMBER)
    ]  # fmt: skip
    found.append(
        PublishedRow("downtime", {"from": "c4_june", "to": "c4_december"}, "shape", "a third to a hundredth", "", "S",
                     _shape, (), 0.0)
    )  # fmt: skip
    found.append(
        PublishedRow("downtime", {"month": "c4_june", "with": "times_of_december"},
                     "share of the month", "not published", "%", "D", _times_alone, ())
    )  # fmt: skip
    return tuple(found)
