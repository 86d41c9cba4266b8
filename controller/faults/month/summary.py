"""What a job gets out of its months, beside what theory says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt
from statistics import quantiles

import numpy as np

from controller.errors import UserError
from controller.faults.month.simulate import MonthJob, MonthLedger, failures_of, simulate
from controller.faults.month.theory import daly_s, exact_optimum_s, first_order_ettr, renewal_ettr, young_s
from controller.faults.month.ticks import seconds
from controller.faults.rates.draw import DrawnFailure

ENOUGH_FAILURES = 40_000
"""So many make the mean time between failures good to half a percent."""
MOST_MONTHS, MOST_GPUS = 400, 10_000_000
MOST_EVENTS = 100_000
"""So many failures of every kind are simulated at most, so that a month of slow hosts takes seconds, too."""
_SPREAD = (0.5, 0.63, 0.79, 1.0, 1.26, 1.59, 2.0)
"""Intervals over the exact optimum at which the simulated one is looked for."""
_SEARCH_MONTHS = 24


@dataclass(frozen=True, slots=True)
class MonthSummary:
    """Months of a job.

    Attributes:
        job: what ran.
        months: how many were simulated.
        ledger: of all of them [s] by row; its rows sum to `wall_s` to the last bit.
        wall_s: length of all of them [s].
        ettr: share of the wall time in which the job made progress that was kept.
        ettr_range: of single months, 5th and 95th percentile.
        goodput: useful work over what its hosts and spares would do at full speed.
        failures, torn, both_lost: over all months; see `MonthLedger`.
        mttf_s, mttf_error: measured [s], and its standard error over it.
        theory: mean time to failure [s] and ETTR by the formulas.
        intervals_s: Young's, Daly's, the exact and the simulated best interval [s].
    """

    job: MonthJob
    months: int
    ledger: Mapping[str, float]
    wall_s: float
    ettr: float
    ettr_range: tuple[float, float]
    goodput: float
    failures: int
    torn: int
    both_lost: int
    mttf_s: float | None
    mttf_error: float | None
    theory: Mapping[str, float]
    intervals_s: Mapping[str, float]


def summarise(job: MonthJob, seed: int, months: int | None = None, *, search: bool = True) -> MonthSummary:
    """Simulates a job.

    Args:
        job: what runs.
        seed: of everything that is drawn.
        months: how many; None for enough to make the means good to half a percent.
        search: whether to look for the best interval too.

    Raises:
        UserError: sizes that cannot be.
    """
    _check(job, seed, months)
    expected = job.for_s / job.mttf_s
    enough = min(MOST_MONTHS, ENOUGH_FAILURES / expected, MOST_EVENTS / _events(job))
    count = months or max(1, round(enough))
    failures = failures_of(job, seed, count)
    total, shares = simulate(job, seed, failures)
    rows = {row: seconds(value) for row, value in total.rows.items()}
    policy, mttf_s = job.checkpoints, job.mttf_s
    spares = job.spares or 0
    split = quantiles(shares, n=20) if len(shares) > 1 else [shares[0]]
    return MonthSummary(
        job,
        count,
        rows,
        seconds(total.wall),
        (total.rows["useful"] + total.rows["slow"]) / total.wall,
        (split[0], split[-1]),
        total.rows["useful"] / total.wall * job.hosts / (job.hosts + spares),
        total.failures,
        total.torn,
        total.both_lost,
        seconds(total.up) / total.failures if total.failures else None,
        1.0 / sqrt(total.failures) if total.failures else None,
        {
            "mttf_s": mttf_s,
            "ettr": renewal_ettr(policy.interval_s, policy.stall_s, job.recovery_s, mttf_s),
            "first_order_ettr": first_order_ettr(policy.interval_s, policy.stall_s, job.recovery_s, mttf_s),
        },
        _intervals(job, seed, failures, total) if search else {},
    )


def _intervals(
    job: MonthJob, seed: int, failures: Sequence[Sequence[DrawnFailure]], total: MonthLedger
) -> dict[str, float]:
    """The best intervals of theory, and the top of a parabola through simulated ones over the same failures."""
    write_s, mttf_s = job.checkpoints.stall_s, job.mttf_s
    best_s = exact_optimum_s(write_s, mttf_s)
    found = {"young": young_s(write_s, mttf_s), "daly": daly_s(write_s, mttf_s), "exact": best_s}
    if not total.failures or best_s < 1.0:
        return found
    chosen = failures[: max(1, min(_SEARCH_MONTHS, int(MOST_EVENTS / 4 / _events(job))))]
    shares = []
    for factor in _SPREAD:
        tried = replace(job, checkpoints=replace(job.checkpoints, interval_s=best_s * factor))
        ledger, _ = simulate(tried, seed, chosen)
        shares.append(ledger.rows["useful"] / ledger.wall)
    bend, slope, _ = np.polyfit([log(factor) for factor in _SPREAD], shares, 2)
    if bend < 0.0:
        found["simulated"] = best_s * float(np.exp(np.clip(-slope / (2.0 * bend), log(_SPREAD[0]), log(_SPREAD[-1]))))
    return found


def _events(job: MonthJob) -> float:
    """Failures of every kind that are expected in a month."""
    return job.rates.per_gpu_hour(job.rates.causes) * job.gpus * job.for_s / 3600.0


def _check(job: MonthJob, seed: int, months: int | None) -> None:
    if not 1 <= job.gpus <= MOST_GPUS:
        raise UserError(f"{job.gpus} GPUs; write 1 to {MOST_GPUS:,}")
    if not 3600.0 <= job.for_s <= 366 * 86400.0:
        raise UserError(f"a month of {job.for_s:g} s; write 1 h to 366 d")
    if seed < 0:
        raise UserError(f"a seed of {seed}; write 0 or more")
    if months is not None and not 1 <= months <= 100_000:
        raise UserError(f"{months} months; write 1 to 100,000")
    expected = _events(job)
    if expected > 1_000_000:
        raise UserError(
            f"{expected:,.0f} failures a month are expected of {job.gpus} GPUs; ask for fewer GPUs or a shorter time"
        )
