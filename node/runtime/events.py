"""Events: which commands of the run have ended, when, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Event as Gate
from threading import Lock

from node.clock import wall_now
from node.errors import WaitTimeout

_KEPT = 250_000
"""How many ended events a node remembers; waiting for one that ended longer ago than that times out."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an event failed.

    Attributes:
        id: the event that failed first.
        type: class name of its error.
        text: the sentence of its error.
    """

    id: int
    type: str
    text: str


class DependencyFailed(Exception):
    """A command was not run because an event that it waits for has failed; carries the first cause."""

    def __init__(self, waited: int, cause: Cause) -> None:
        first = "" if waited == cause.id else f", because command {cause.id} failed first"
        super().__init__(f"not run: it waits for command {waited}, which failed{first}: {cause.type}: {cause.text}")
        self.cause = cause


class Events:
    """The events that this node has seen end.

    Reading and setting one entry of a dict is atomic, so the usual case, an event that has ended, takes no lock. A
    waiter registers and looks again; whoever ends an event stores it and then looks for waiters: one sees the other.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._ended: dict[int, float | Cause] = {}
        self._waiters: dict[int, list[Callable[[], None]]] = {}
        self._lock = Lock()

    def end(self, event: int, outcome: float | Cause) -> None:
        """Says that an event ended at a device time [s], or why it failed."""
        ended = self._ended
        ended[event] = outcome
        if self._waiters:
            with self._lock:
                waiters = self._waiters.pop(event, ())
            for wake in waiters:
                wake()
        if len(ended) > _KEPT:
            with self._lock:
                for old in list(islice(ended, _KEPT // 2)):
                    del ended[old]

    def outcome(self, event: int) -> float | Cause | None:
        """How an event ended; None when it has not."""
        return self._ended.get(event)

    def when_ended(self, events: Iterable[int], then: Callable[[], None]) -> None:
        """Calls `then` once, in whatever thread ends the last of `events`; at once when all have."""
        for event in events:
            if event in self._ended:
                continue
            with self._lock:
                self._waiters.setdefault(event, []).append(lambda: self.when_ended(events, then))
                if event not in self._ended:
                    return
                # It ended between the two looks; take the registration back unless it has been called already.
                if event not in self._waiters:
                    return
                self._waiters[event].pop()
                if not self._waiters[event]:
                    del self._waiters[event]
        then()

    def latest(self, events: Sequence[int], at_least: float) -> float:
        """The latest end of events that have all ended [device time, s], or `at_least` when that is later.

        Raises:
            DependencyFailed: one has failed.
        """
        latest = at_least
        for event in events:
            outcome = self._ended[event]
            if isinstance(outcome, Cause):
                raise DependencyFailed(event, outcome)
            if outcome > latest:
                latest = outcome
        return latest

    def wait(self, events: Sequence[int], at_least: float, until_wall: float) -> float:
        """Blocks until every event has ended; otherwise as `latest`.

        Raises:
            DependencyFailed: one has failed.
            WaitTimeout: one has not ended at `until_wall` on the wall clock [s].
        """
        ended = self._ended
        for event in events:
            if event not in ended:
                gate = Gate()
                self.when_ended(events, gate.set)
                if not gate.wait(max(0.0, until_wall - wall_now())):
                    missing = [str(event) for event in events if event not in ended]
                    raise WaitTimeout(
                        f"{self._device} waited for command {', '.join(missing)}, which did not end in time; look at "
                        "the devices that run it, or give the batch a longer timeout"
                    )
                break
        return self.latest(events, at_least)
