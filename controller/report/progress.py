"""How far a long run is, on standard error: a moving bar where somebody watches, a line per tenth where nobody does.

A run that takes minutes also says how long, in a line of its own, once its first steps have shown it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from controller.clock import wall_clock_s
from controller.errors import duration_text

TENTHS = 10
MEASURED_S, LONG_S = 2.0, 60.0
"""For how long steps are watched, and from which time left on it is said [s]."""


class Tell(Protocol):
    """Says how far something is; a new `what` starts a new bar."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tells that `done` of `total` steps of `what` are finished."""


@contextmanager
def progress(stream: IO[str] | None = None) -> Iterator[Tell]:
    """Gives the function to tell progress with, in the form that suits `stream` (standard error)."""
    target = sys.stderr if stream is None else stream
    if not Console(file=target).is_terminal:
        yield _Lines(target)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=target), transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: dict[str, TaskID] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        if what not in self._task:
            self._task[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._task[what], completed=done, total=total)


class _Lines:
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._told: dict[str, int] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._estimated: set[str] = set()

    def __call__(self, done: int, total: int, what: str) -> None:
        if total == 1:  # one step is told when it begins
            if what not in self._told:
                self._told[what] = TENTHS
                print(what, file=self._stream, flush=True)
            return
        self._estimate(done, total, what)
        tenth = TENTHS if total <= 0 else done * TENTHS // total
        if tenth > self._told.get(what, 0):
            self._told[what] = tenth
            print(f"{what}: {done}/{total}", file=self._stream, flush=True)

    def _estimate(self, done: int, total: int, what: str) -> None:
        if what in self._estimated:
            return
        now = wall_clock_s()
        began, first = self._began.setdefault(what, (now, done))
        if now - began < MEASURED_S or done <= first:
            return
        self._estimated.add(what)
        left_s = (now - began) / (done - first) * (total - done)
        if left_s >= LONG_S:
            print(f"{what}: {done}/{total}, about {duration_text(left_s)} left", file=self._stream, flush=True)
