"""Runs a paper's requests, each once, on a few processes, and compares every row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from controller.compare.digest import request_digest
from controller.compare.kept import BrokenOff, Form, ProgressSink, run_kept
from controller.compare.measure import CANNOT_RUN
from controller.errors import WindtunnelError
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.reproduce.rows import ComparedRow, Paper, PublishedRow, Results, RunResult, compare
from node.errors import NodeError


def run_request(request: RunSpec) -> RunResult:
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
        outcome.short_reports(),
        (
            sum(use.read_bytes for use in outcome.flash.values()),
            sum(use.written_bytes for use in outcome.flash.values()),
        ),
        {times.label: times.time_s for times in outcome.op_times},
    )


def attempt(request: RunSpec) -> RunResult:
    """Our side of one run; one that raises ends with its error, so that it costs its own rows and no others."""
    try:
        return run_request(request)
    except (WindtunnelError, NodeError) as error:
        return RunResult(f"{CANNOT_RUN}{error}", None, 0.0, None, None)
    except Exception as error:
        return RunResult(f"{CANNOT_RUN}{type(error).__name__}: {error}", None, 0.0, None, None)


def run_kept_requests(
    runs: Mapping[str, RunSpec], folder: Path | None, progress: ProgressSink | None, processes: int | None
) -> dict[str, RunResult]:
    """Results of every request by key, those that raise included; see `run_kept`."""
    form: Form[RunSpec, RunResult] = Form(request_digest, asdict, _result, _failed)
    return run_kept(attempt, runs, form, folder=folder, processes=processes, progress=progress)


def reproduce(
    paper: Paper, *, folder: Path | None = None, progress: ProgressSink | None = None, processes: int | None = None
) -> tuple[ComparedRow, ...]:
    """Every row of a paper with our value and the error.

    Args:
        paper: whose rows.
        folder: where finished runs are kept and found again; None for nowhere.
        progress: called with (done, total, key of a run).
        processes: runs at once; None for as many as there are cores.

    Raises:
        BrokenOff: Ctrl-C; carries the rows whose runs are all finished.
    """
    if paper.prepare is not None:
        paper.prepare(paper.rows, folder, progress, processes)
    needed = {key: paper.runs[key] for row in paper.rows for key in row.runs}
    try:
        results = run_kept_requests(needed, folder, progress, processes)
    except BrokenOff as broken:
        raise broken.giving(_compared(paper, finished_rows(paper.rows, broken.rows), broken.rows)) from None
    return _compared(paper, paper.rows, results)


def finished_rows(rows: Iterable[PublishedRow], results: Results) -> list[PublishedRow]:
    """Those whose runs are all among `results`."""
    return [row for row in rows if all(key in results for key in row.runs)]


def _compared(paper: Paper, rows: Iterable[PublishedRow], results: Results) -> tuple[ComparedRow, ...]:
    return tuple(compare(paper, row, results) for row in rows)


def _result(fields: Mapping[str, Any]) -> RunResult:
    read, written = fields["flash_bytes"]
    return RunResult(**{**fields, "flash_bytes": (read, written)})


def _failed(result: RunResult) -> bool:
    return result.ended.startswith(CANNOT_RUN)
