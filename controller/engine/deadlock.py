"""Says who waits for what when nothing can happen any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.engine.activities import Activities
from controller.engine.errors import EngineDeadlock
from controller.engine.records import WAITING, Store

NAMED = 8  # lines of a message before it says how many more there are


class Batch(NamedTuple):
    """Where a submitted batch lies in the pools.

    Attributes:
        template: the arrays it was submitted as.
        first, first_load, first_successor: starts of its ranges.
        slot: its entry in the array of batches.
    """

    template: Activities
    first: int
    first_load: int
    first_successor: int
    slot: int


@dataclass(frozen=True, slots=True)
class EngineNames:
    """What to call things in messages; a front end may know better names than numbers."""

    activity: Callable[[int, int], str] = lambda ticket, i: f"activity {i} of ticket {ticket}"
    resource: Callable[[int], str] = lambda r: f"resource {r}"
    queue: Callable[[int], str] = lambda q: f"queue {q}"


class StallExplanation:
    """Reads the state of an engine that is stuck."""

    def __init__(self, store: Store, batches: dict[int, Batch], names: EngineNames) -> None:
        self._store = store
        self._batches = batches
        self._names = names
        self._first_in_queue: dict[int, tuple[int, int]] = {}

    def deadlock(self) -> EngineDeadlock:
        """The error, with the causes first: flows that stall, then chains of who waits for whom."""
        stalled: list[tuple[int, int]] = []
        waiting: list[tuple[int, int]] = []
        for ticket, i in self._unfinished():
            queue = int(self._batches[ticket].template.queue[i])
            self._first_in_queue.setdefault(queue, (ticket, i))
            (waiting if self._row(ticket, i)["flow"] == WAITING else stalled).append((ticket, i))
        failed = sorted({r for ticket, i in stalled for r in self._failed(ticket, i)})
        lines = [self._stall(ticket, i) for ticket, i in stalled[:NAMED]]
        if len(stalled) > NAMED:
            lines.append(f"and {len(stalled) - NAMED} more that flow at rate zero")
        explained = set(stalled)
        for ticket, i in waiting:
            if len(lines) >= 2 * NAMED:
                break
            chain = self._chain(ticket, i, explained)
            if chain:
                lines.append(chain)
        now = float(self._store.state[0]["now"])
        count = len(stalled) + len(waiting)
        text = f"nothing can happen after {now} s and {count} activities have not ended:\n  " + "\n  ".join(lines)
        return EngineDeadlock(text, stalled=tuple(stalled), waiting=tuple(waiting), resources=tuple(failed))

    def _row(self, ticket: int, i: int) -> Any:
        return self._store.activity[self._batches[ticket].first + i]

    def _unfinished(self) -> Iterator[tuple[int, int]]:
        for ticket, batch in self._batches.items():
            ends = self._store.activity["end_at"][batch.first : batch.first + batch.template.count]
            for i in np.flatnonzero(np.isnan(ends)):
                yield ticket, int(i)

    def _loads(self, ticket: int, i: int) -> NDArray[Any]:
        batch = self._batches[ticket]
        start, stop = batch.template.load_start[i : i + 2]
        return self._store.load[batch.first_load + start : batch.first_load + stop]

    def _failed(self, ticket: int, i: int) -> list[int]:
        loads = self._loads(ticket, i)
        used = loads["resource"][loads["weight"] > 0.0]
        return [int(r) for r in used if self._store.resource["capacity"][r] == 0.0]

    def _stall(self, ticket: int, i: int) -> str:
        resources = ", ".join(self._names.resource(r) for r in self._failed(ticket, i))
        return f"{self._names.activity(ticket, i)} flows at rate zero: capacity 0 of {resources}"

    def _holder(self, ticket: int, i: int) -> tuple[str, tuple[int, int]] | None:
        """Whom a waiting activity waits for directly, and how; None if for nobody."""
        template = self._batches[ticket].template
        for dep in template.dep[template.dep_start[i] : template.dep_start[i + 1]]:
            if np.isnan(self._row(ticket, int(dep))["end_at"]):
                return "waits for", (ticket, int(dep))
        queue = int(template.queue[i])
        if queue < 0 or self._first_in_queue[queue] == (ticket, i):
            return None
        return f"waits in {self._names.queue(queue)} behind", self._first_in_queue[queue]

    def _chain(self, ticket: int, i: int, explained: set[tuple[int, int]]) -> str:
        """From one activity to a cause or round to itself; empty if a chain before has named it."""
        if (ticket, i) in explained:
            return ""
        links = [self._names.activity(ticket, i)]
        here = (ticket, i)
        seen = {here}
        while (held := self._holder(*here)) is not None:
            how, here = held
            links.append(f"{how} {self._names.activity(*here)}")
            if here in seen or here in explained:
                break
            seen.add(here)
        explained |= seen
        if len(links) > NAMED:
            links[NAMED // 2 : -NAMED // 2] = [f"... {len(links) - NAMED} more ..."]
        return " ".join(links)
