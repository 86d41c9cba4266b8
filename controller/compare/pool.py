"""Runs a function over named items on a few processes; the order of execution changes nothing."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from controller.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


class WorkerDied(RunError):
    """A process that ran requests has been killed from outside."""


def each(
    function: Callable[[Item], Result],
    items: Mapping[str, Item],
    done: Callable[[str, Result], None],
    processes: int | None = None,
) -> None:
    """Calls ``done(name, function(item))`` for every item, as they end.

    Args:
        function: importable by name, so that a fresh process finds it.
        items: by name.
        done: called in this process.
        processes: how many at once; None for as many as there are cores.

    Raises:
        WorkerDied: a process was killed.
    """
    workers = min(processes or os.cpu_count() or 1, len(items))
    if workers <= 1:
        for name, item in items.items():
            done(name, function(item))
        return
    # Spawned, not forked: the parent may hold gRPC threads, which do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            with _interrupts_ignored():
                futures = {pool.submit(function, item): name for name, item in items.items()}
            for future in as_completed(futures):
                done(futures[future], future.result())
        except BrokenProcessPool as error:
            raise WorkerDied("a process that ran requests has been killed; run it again") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.kill()
            raise


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
