"""Starts commands: in the order of their queue, or as soon as their events allow."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from threading import Condition, Lock, Thread
from threading import Event as Gate
from typing import NamedTuple

from node.clock import wall_now
from node.errors import ShuttingDown, WaitTimeout
from node.hardware.device import QueueSpec
from node.runtime.batch import Command
from node.runtime.events import Cause, DependencyFailed, Events

Tell = Callable[[Sequence[str], int, "float | Cause"], None]
"""Tells devices how an event ended."""

_FREE_WORKERS = 128


class Ended(NamedTuple):
    """How a command ended: device time [s], too slow for the pace, real duration [s]."""

    end_at: float
    overrun: bool
    wall_s: float


class Runner:
    """Runs one command at its start time and says how it ended: to waiters, to peers, to its batch."""

    def __init__(self, events: Events, tell: Tell) -> None:
        self.events = events
        self._tell = tell

    def execute(self, command: Command, start_at: float) -> Ended | Exception:
        """Does what the command says; whatever a kernel raises is an outcome, the node goes on serving."""
        began = wall_now()
        try:
            end_at, overrun = command.call.execute(start_at)
        except Exception as error:
            return error
        return Ended(end_at, overrun, wall_now() - began)

    def conclude(self, command: Command, start_at: float, outcome: Ended | Exception) -> None:
        """Says how a command ended."""
        if isinstance(outcome, Exception):
            self.fail(command, outcome)
            return
        self.events.end(command.event, outcome.end_at)
        if command.notify:
            self._tell(command.notify, command.event, outcome.end_at)
        command.batch.succeeded(command.index, start_at, outcome.end_at, outcome.wall_s, outcome.overrun)

    def run(self, command: Command, start_at: float) -> None:
        """Both."""
        self.conclude(command, start_at, self.execute(command, start_at))

    def fail(self, command: Command, error: BaseException) -> None:
        """Says that a command failed."""
        if isinstance(error, DependencyFailed):
            cause = error.cause
        else:
            cause = Cause(command.event, type(error).__name__, str(error))
        self.events.end(command.event, cause)
        if command.notify:
            self._tell(command.notify, command.event, cause)
        command.batch.failed(command.index, error)


class InOrderQueue:
    """A queue as declared: its commands start in the order of submission, at most `slots` at once."""

    def __init__(self, device: str, spec: QueueSpec, runner: Runner) -> None:
        self._runner = runner
        self._pending: deque[Command] = deque()
        self._arrived = Condition()
        self._order = Lock()
        self._slots = [0.0] * spec.slots  # heap of when each idle slot became free
        self._last_start_at = 0.0
        self._threads = [
            Thread(target=self._serve, name=f"{device}.{spec.name}.{slot}", daemon=True) for slot in range(spec.slots)
        ]
        self._started = False

    def add(self, commands: Sequence[Command]) -> None:
        """Appends commands."""
        with self._arrived:
            self._pending.extend(commands)
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()
            self._arrived.notify()

    def restart(self) -> None:
        """Forgets until when the queue was busy; nothing may be running."""
        self._slots[:] = [0.0] * len(self._slots)
        self._last_start_at = 0.0

    def _serve(self) -> None:
        while True:
            try:
                self._serve_commands()
            except Exception:  # of whoever is told how a command ended; the queue goes on with the next
                traceback.print_exc()

    def _serve_commands(self) -> None:
        pending, order, runner, events = self._pending, self._order, self._runner, self._runner.events
        while True:
            with order:
                if not pending:
                    with self._arrived:
                        while not pending:
                            self._arrived.wait()
                command = pending.popleft()
                batch = command.batch
                start_at = command.launched_at if command.launched_at > batch.ready_at else batch.ready_at
                try:
                    if command.wait:
                        start_at = events.wait(command.wait, start_at, batch.until_wall)
                except Exception as error:
                    runner.fail(command, error)
                    continue
                free_at = heappop(self._slots)
                start_at = max(start_at, free_at, self._last_start_at)
                self._last_start_at = start_at
            outcome = runner.execute(command, start_at)
            # The slot is free before anybody hears of it: whoever hears may restart the clock.
            heappush(self._slots, outcome.end_at if isinstance(outcome, Ended) else start_at)
            runner.conclude(command, start_at, outcome)


class FreeRunner:
    """Commands on no queue: each starts when its events have ended."""

    def __init__(self, device: str, runner: Runner) -> None:
        self._device, self._runner = device, runner
        self._pool = ThreadPoolExecutor(_FREE_WORKERS, thread_name_prefix=f"{device}.free")
        self._waiting: dict[int, Command] = {}
        self._closed = Gate()
        self._watch: Thread | None = None
        self._lock = Lock()

    def add(self, command: Command) -> None:
        """Runs `command` in a thread of its own as soon as it may."""
        self._waiting[id(command)] = command
        self._runner.events.when_ended(command.wait, lambda: self._begin(command))
        if id(command) in self._waiting and self._watch is None:
            with self._lock:
                if self._watch is None:
                    self._watch = Thread(target=self._expire, name=f"{self._device}.expire", daemon=True)
                    self._watch.start()

    def close(self) -> None:
        """Fails what still waits."""
        self._closed.set()
        for command in list(self._waiting.values()):
            if self._waiting.pop(id(command), None) is not None:
                self._runner.fail(command, ShuttingDown(f"{self._device} is shutting down"))

    def _begin(self, command: Command) -> None:
        if self._waiting.pop(id(command), None) is None:
            return  # it has timed out
        try:
            start_at = self._runner.events.latest(command.wait, command.batch.ready_at)
        except DependencyFailed as error:
            self._runner.fail(command, error)
            return
        self._pool.submit(self._runner.run, command, start_at)

    def _expire(self) -> None:
        while not self._closed.wait(0.5):
            now = wall_now()
            for command in list(self._waiting.values()):
                if command.batch.until_wall < now and self._waiting.pop(id(command), None) is not None:
                    missing = [str(e) for e in command.wait if self._runner.events.outcome(e) is None]
                    error = WaitTimeout(
                        f"{self._device} waited for command {', '.join(missing)}, which did not end in time; look at "
                        "the devices that run it, or give the batch a longer timeout"
                    )
                    self._runner.fail(command, error)
