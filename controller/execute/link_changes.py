"""Links that change in mid-run: capacities at their instants, flows moved to other paths, and the name of a stall.

When a link fails, every transfer that has not ended is given its paths anew over the links that work, by the routing
of the topology: what is in flight goes on elsewhere with the bytes that are left, and pays no second latency. When the
link comes back the same happens, so that load returns to it. A transfer without another equal path stands still until
its link comes back; when nothing else can happen the run ends with `LinkFailed`.

Simplification: everybody knows at once. Detection and rerouting take from microseconds to seconds in real networks;
write a later end of the fault, or a latency, for those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.engine import Engine
from controller.engine.errors import EngineDeadlock as Stuck
from controller.errors import LinkFailed
from controller.execute.template import Bound, Template
from controller.fabric.loads import Fabric
from controller.faults.schedule import Change

NAMED = 4
"""Transfers that an error names before it says how many more there are."""

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class Moved:
    """A submitted plan whose transfers may move.

    Attributes:
        number: its ticket.
        template: what was submitted.
        bound: with its numbers; the weights become means over the work when something moves.
        weights: what the loads are now.
    """

    number: int
    template: Template
    bound: Bound
    weights: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.weights = self.bound.load_weight.copy()
        base = self.bound
        self.bound = Bound(base.work, base.latency_s, base.rate_limit, base.load_weight.copy(), base.limits)


class LinkChanges:
    """The schedule of one run and what has come of it.

    Attributes:
        epoch: an object that is another one whenever other links work; templates are compiled for one.
        reports: what happened, for the outcome.
    """

    def __init__(self, fabric: Fabric, engine: Engine, changes: Iterable[Change]) -> None:
        self._fabric, self._engine = fabric, engine
        self._waiting = list(changes)
        self._failed_at: dict[str, float] = {}
        self.epoch = object()
        self.reports: list[dict[str, Any]] = [
            {"link": change.link, "at_s": change.at_s, "share": change.share, "happened": False, "moved_transfers": 0}
            for change in self._waiting
        ]
        self._done = 0

    @property
    def declared(self) -> bool:
        """Whether any link changes at all."""
        return bool(self._waiting)

    @property
    def next_at(self) -> float:
        """Instant of the next change [s]; inf when there is none."""
        return self._waiting[self._done].at_s if self._done < len(self._waiting) else inf

    def apply(self, now: float, running: Iterable[Moved]) -> None:
        """Lets everything happen that is due at `now` [s], one change after the other."""
        plans = tuple(running)
        while self.next_at <= now:
            change, report = self._waiting[self._done], self.reports[self._done]
            self._done += 1
            for resource in self._fabric.link_resources(change.link):
                self._engine.set_capacity(resource, float(self._fabric.capacity[resource]) * change.share)
            report["happened"] = True
            down = self._fabric.down - {change.link}
            if change.share == 0.0:
                down |= {change.link}
                self._failed_at[change.link] = change.at_s
            if down != self._fabric.down:
                self._fabric.down = down
                self.epoch = object()
                report["moved_transfers"] = sum(self._move(each) for each in plans)

    def stall(self, stuck: Stuck, now: float, name: Callable[[int, int], str]) -> LinkFailed | None:
        """The error for people when the engine is stuck at a failed link; None when it is stuck elsewhere."""
        at_fault = [
            link
            for link in sorted(self._fabric.down)
            if any(resource in stuck.resources for resource in self._fabric.link_resources(link))
        ]
        if not at_fault:
            return None
        since = ", ".join(f"{link} failed at {self._failed_at[link]:g} s" for link in at_fault)
        names = [name(*where) for where in stuck.stalled[:NAMED]]
        more = len(stuck.stalled) - len(names)
        waiting = ", ".join(names) + (f" and {more} more" if more else "")
        return LinkFailed(
            f"link {since} and never came back; since {now:g} s nothing can go on. Waiting on it: {waiting}; "
            f"{len(stuck.waiting)} more ops wait for those. No other path of equal cost works; let the link come back "
            f"(LINK@TIME:UNTIL), or declare another path",
            tuple(at_fault),
        )

    def _move(self, plan: Moved) -> int:
        count = 0
        for row, loads, weights in plan.template.rerouted(plan.weights):
            left = self._engine.reweigh(plan.number, row, weights)
            if left > 0.0 or plan.bound.work[row] == 0.0:
                share = left / plan.bound.work[row] if plan.bound.work[row] else 1.0
                plan.bound.load_weight[loads] += (weights - plan.weights[loads]) * share
                plan.weights[loads] = weights
                count += 1
        return count
