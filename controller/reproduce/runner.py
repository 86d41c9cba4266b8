"""Runs a paper's requests, each once, on a few processes, and compares every row."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from controller.errors import RunError
from controller.experiment import Request, run_experiment
from controller.reproduce.rows import ComparedRow, Paper, Results, RunResult, compare

ProgressSink = Callable[[int, int, str], None]
PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


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
    )


def run_all(runs: Mapping[str, Request], progress: ProgressSink | None, processes: int | None = None) -> Results:
    """Results of every request, by key; the order of execution changes nothing."""
    workers = min(processes or os.cpu_count() or 1, len(runs))
    results: dict[str, RunResult] = {}
    if workers <= 1:
        for done, (key, request) in enumerate(runs.items(), 1):
            results[key] = run_request(request)
            if progress is not None:
                progress(done, len(runs), key)
        return results
    # Spawned, not forked: the parent may hold gRPC threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            with _interrupts_ignored():
                futures = {pool.submit(run_request, request): key for key, request in runs.items()}
            for done, future in enumerate(as_completed(futures), 1):
                results[futures[future]] = future.result()
                if progress is not None:
                    progress(done, len(runs), futures[future])
        except BrokenProcessPool as error:
            raise WorkerDied("a process that ran requests has been killed; run it again") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.kill()
            raise
    return results


class WorkerDied(RunError):
    """A process that ran requests has been killed from outside."""


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start inside ignore Ctrl-C for good: the parent decides what it means and ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """A worker does not outlive a parent that was killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def reproduce(
    paper: Paper, *, progress: ProgressSink | None = None, processes: int | None = None
) -> tuple[ComparedRow, ...]:
    """Every row of a paper with our value and the error."""
    needed = {key: paper.runs[key] for row in paper.rows for key in row.runs}
    results = run_all(needed, progress, processes)
    return tuple(compare(paper, row, results) for row in paper.rows)
