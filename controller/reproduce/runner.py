"""Runs a paper's requests, each once, on a few processes, and compares every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.compare.pool import each
from controller.experiment import Request, run_experiment
from controller.reproduce.rows import ComparedRow, Paper, Results, RunResult, compare

ProgressSink = Callable[[int, int, str], None]


def run_request(request: Request) -> RunResult:
    """Our side of one run."""
    experiment = run_experiment(request)
    outcome = experiment.outcome
    return RunResult(
        outcome.ended,
        experiment.tokens_per_s,
        outcome.time_s,
        outcome.phases.get("prefill"),
        outcome.phases.get("decode"),
        dict(outcome.phases),
        {use.name: use.busy_ratio for use in outcome.resources},
        dict(outcome.peak_bytes),
        {name: value for name, value in outcome.reports.items() if isinstance(value, str | int | float)},
        (
            sum(use.read_bytes for use in outcome.flash.values()),
            sum(use.written_bytes for use in outcome.flash.values()),
        ),
        {times.label: times.time_s for times in outcome.op_times},
    )


def run_all(runs: Mapping[str, Request], progress: ProgressSink | None, processes: int | None = None) -> Results:
    """Results of every request, by key; the order of execution changes nothing."""
    results: dict[str, RunResult] = {}

    def done(key: str, result: RunResult) -> None:
        results[key] = result
        if progress is not None:
            progress(len(results), len(runs), key)

    each(run_request, runs, done, processes)
    return results


def reproduce(
    paper: Paper, *, progress: ProgressSink | None = None, processes: int | None = None
) -> tuple[ComparedRow, ...]:
    """Every row of a paper with our value and the error."""
    needed = {key: paper.runs[key] for row in paper.rows for key in row.runs}
    results = run_all(needed, progress, processes)
    return tuple(compare(paper, row, results) for row in paper.rows)
