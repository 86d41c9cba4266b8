"""A batch of commands in progress, and what one command is while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol


class Action(Protocol):
    """What a command does."""

    queue: str
    """In-order queue; "" for none."""
    issued: bool
    """Whether the host launches it, through the device's issue queue if it has one."""

    def execute(self, start_at: float) -> tuple[float, bool]:
        """Does it; returns the end [device time, s] and whether the machine was too slow for the pace.

        Raises:
            NodeError: it cannot be done.
        """


@dataclass(slots=True, eq=False)
class Command:
    """One command of a batch.

    Attributes:
        event: that ends with it.
        call: what it does.
        wait: events that must have ended first.
        notify: devices to tell.
        index: place in its batch.
        batch: its batch.
        launched_at: when the host has launched it [device time, s].
    """

    event: int
    call: Action
    wait: Sequence[int]
    notify: Sequence[str]
    index: int
    batch: BatchRun
    launched_at: float = -math.inf


class BatchRun:
    """Collects how the commands of a batch end and says so when all have.

    Attributes:
        number: given by the client.
        ready_at: no command starts earlier [device time, s].
        until_wall: commands stop waiting for events then [wall clock, s].
        start_at, end_at, wall_s, overrun: by command; NaN where it failed.
        failures: (index, error).
    """

    def __init__(
        self, number: int, size: int, ready_at: float, until_wall: float, done: Callable[[BatchRun], None]
    ) -> None:
        self.number, self.ready_at, self.until_wall = number, ready_at, until_wall
        self.start_at = [math.nan] * size
        self.end_at = [math.nan] * size
        self.wall_s = [0.0] * size
        self.overrun = [False] * size
        self.failures: list[tuple[int, BaseException]] = []
        self._left = size
        self._lock = Lock()
        self._done = done
        if not size:
            done(self)

    def succeeded(self, index: int, start_at: float, end_at: float, wall_s: float, overrun: bool) -> None:
        """A command has ended."""
        self.start_at[index], self.end_at[index], self.wall_s[index] = start_at, end_at, wall_s
        if overrun:
            self.overrun[index] = True
        self._count()

    def failed(self, index: int, error: BaseException) -> None:
        """A command has failed."""
        self.failures.append((index, error))
        self._count()

    def _count(self) -> None:
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self.failures.sort(key=lambda entry: entry[0])
            self._done(self)
