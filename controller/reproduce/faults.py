"""Published statistics of failures beside drawn ones, and months of jobs beside the formulas of checkpointing.

Source: the texts behind `controller.faults.rates.published`. Rows marked D compare the simulation with a formula:
MTTF with 1 / (n r), ETTR with the exact renewal formula. Rates per GPU-hour are what the rates were made of, so they
are calibration. A row that one rate cannot explain says so in its name and has no target: MTTF of jobs of all causes is
measured in RSC-1, of which the published rate counts infrastructure alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np

from controller.faults.month.checkpoints import checkpoints_called
from controller.faults.month.recovery import recovery_called
from controller.faults.month.simulate import MonthJob
from controller.faults.month.summary import MonthSummary, summarise
from controller.faults.month.theory import daly_s, exact_optimum_s, renewal_ettr, young_s
from controller.faults.rates.draw import draw
from controller.faults.rates.published import RATES, rates_called
from controller.reproduce.rows import Paper, PublishedRow, Results, Value

DAY_S = 86400.0
WITHIN = 0.01
TRACES = 20
"""Traces of which the statistics of StepFun's are means."""


def job_of(name: str, gpus: int, interval_s: float, policy: str = "blocking") -> MonthJob:
    """A job at published rates, single and independent failures, with everything else as assumed."""
    rates = rates_called(name)
    return MonthJob(
        replace(rates, burst_share=0.0, useless_repairs=0.0),
        gpus,
        30 * DAY_S,
        checkpoints_called(policy, interval_s),
        recovery_called("restart"),
        None,
        rates.detect_s,
        rates.diagnose_s,
        rates.reinit_s,
    )


@cache
def month_of(name: str, gpus: int, interval_s: float, policy: str = "blocking", search: bool = False) -> MonthSummary:
    """Months of that job."""
    return summarise(job_of(name, gpus, interval_s, policy), seed=0, search=search)


def _mttf_h(ask: Callable[[], MonthSummary]) -> Value:
    measured_s = ask().mttf_s
    return "no failure" if measured_s is None else measured_s / 3600.0


def _ettr(ask: Callable[[], MonthSummary]) -> Value:
    return ask().ettr


@cache
def trace_statistics() -> tuple[float, float, float]:
    """Of drawn StepFun traces: coefficient of variation of the gaps, servers that fail, and faults, on average."""
    rates, found = RATES["stepfun"], []
    for number in range(TRACES):
        failures = draw(rates, 400, 348 * DAY_S, np.random.default_rng([number, 3]))
        gaps = np.diff([failure.at_s for failure in failures])
        found.append((gaps.std() / gaps.mean(), len({failure.host for failure in failures}), len(failures)))
    variation, servers, faults = np.mean(found, axis=0)
    return float(variation), float(servers), float(faults)


def _ours(value: Callable[[], Value]) -> Callable[[Results], Value]:
    return lambda _: value()


def _row(
    table: str,
    row: Mapping[str, str | int | float],
    quantity: str,
    published: Value,
    unit: str,
    mark: str,
    ours: Callable[[], Value],
    tolerance: float | None = None,
    calibration: bool = False,
) -> PublishedRow:
    return PublishedRow(table, row, quantity, published, unit, mark, _ours(ours), (), tolerance, calibration)


def _against_theory() -> list[PublishedRow]:
    table, rows = "Monte Carlo against theory", []
    for name, gpus, interval_s in (
        ("meta_llama3", 16384, 1800.0),
        ("rsc1", 16384, 3600.0),
        ("stepfun", 3200, 3600.0),
        ("c4_june", 2400, 9720.0),
    ):
        job = job_of(name, gpus, interval_s)
        which: dict[str, str | int | float] = {"rates": name, "gpus": gpus, "interval_min": interval_s / 60}
        write_s = job.checkpoints.stall_s
        formula = renewal_ettr(interval_s, write_s, job.recovery_s, job.mttf_s)
        ask = partial(month_of, name, gpus, interval_s)
        rows += [
            _row(table, which, "MTTF = 1 / (n r)", job.mttf_s / 3600, "h", "D", partial(_mttf_h, ask), WITHIN),
            _row(table, which, "ETTR, renewal formula", formula, "", "D", partial(_ettr, ask), WITHIN),
        ]
    job = job_of("meta_llama3", 16384, 1800.0)
    for formula_name, interval in (("Young", young_s), ("Daly", daly_s), ("exact", exact_optimum_s)):
        rows.append(
            _row(
                table,
                {"rates": "meta_llama3", "gpus": 16384, "formula": formula_name},
                "best interval",
                interval(job.checkpoints.stall_s, job.mttf_s) / 60,
                "min",
                "D",
                lambda: month_of("meta_llama3", 16384, 1800.0, search=True).intervals_s["simulated"] / 60,
            )
        )
    return rows


def _published() -> list[PublishedRow]:
    table = "published"
    once = {"explained": "by_this_rate"}
    never = {"explained": "not_by_one_rate"}
    rsc1: dict[str, str | int | float] = {"rates": "rsc1"}
    llama: dict[str, str | int | float] = {"rates": "meta_llama3", "gpus": 16384}
    stepfun: dict[str, str | int | float] = {"rates": "stepfun", "hosts": 400}
    mttf_of = {gpus: partial(_mttf_h, partial(month_of, "rsc1", gpus, 1800.0)) for gpus in (16384, 1024)}

    def above(name: str, gpus: int, interval_s: float, policy: str = "blocking") -> Callable[[], Value]:
        return lambda: _above(month_of(name, gpus, interval_s, policy).ettr)

    rows = [
        _row(
            table, {"rates": name, **once}, "failures per GPU-hour", value, "1/h", "D",
            partial(rates_called(name).per_gpu_hour), calibration=True,
        )
        for name, value in (("meta_llama3", 1.97e-5), ("stepfun", 2.18e-5), ("c4_june", 2.31e-5), ("rsc1", 3.4e-5))
    ]  # fmt: skip
    return [
        *rows,
        _row(table, {**rsc1, "gpus": 16384, **once}, "MTTF, projected", 1.8, "h", "S", mttf_of[16384], 0.02),
        _row(table, {**rsc1, "gpus": 1024, **never}, "MTTF, measured", 7.9, "h", "S", mttf_of[1024]),
        _row(table, {**rsc1, "gpus": 8, **never}, "MTTF, measured", 47.7 * 24, "h", "S",
             lambda: 1.0 / (RATES["rsc1"].per_gpu_hour() * 8)),
        _row(table, {**rsc1, "gpus": 2048, "interval_min": 60}, "ETTR", "above 0.9", "", "S",
             above("rsc1", 2048, 3600.0), 0.0),
        _row(table, {**rsc1, "gpus": 4096, "interval_min": 60}, "ETTR", "above 0.9", "", "S",
             above("rsc1", 4096, 3600.0), 0.0),
        _row(table, {**llama, "interval_min": 30}, "effective training time", "above 0.9", "", "S",
             above("meta_llama3", 16384, 1800.0)),
        _row(table, {**llama, "interval_min": 10, "checkpoints": "asynchronous"}, "effective training time",
             "above 0.9", "", "S", above("meta_llama3", 16384, 600.0, "asynchronous")),
        _row(table, {**stepfun, **never}, "variation of the gaps", 1.76, "", "R", lambda: trace_statistics()[0]),
        _row(table, stepfun, "servers that fail", 231, "", "R", lambda: trace_statistics()[1]),
        _row(table, stepfun, "faults", 584, "", "R", lambda: trace_statistics()[2], calibration=True),
    ]  # fmt: skip


def _above(ettr: float) -> str:
    return f"above 0.9: {ettr:.3f}" if ettr > 0.9 else f"below: {ettr:.3f}"


def paper() -> Paper:
    """The statistics of failures."""
    return Paper(
        "faults",
        "Failures and checkpoints: published statistics, and months of jobs beside the formulas",
        {},
        (*_against_theory(), *_published()),
        knob="the rates of failures, which are published rows themselves",
    )
