"""Parts that change in mid-run: capacities and speeds at their instants, flows moved to other paths, and who stalls.

When a link fails, every transfer that has not ended is given its paths anew over the links that work, by the routing
of the topology: what is in flight goes on elsewhere with the bytes that are left, and pays no second latency. When the
link comes back the same happens, so that load returns to it. A transfer without another equal path stands still until
its link comes back; when nothing else can happen the run ends with `LinkFailed`. Tiers and ports change in the same
way; nothing moves from them. Kernels of a slow device are slower from that instant on, those that run too. What is
added to a latency is paid by the transfers of plans that are submitted while it holds.

A device that is dead or frozen lets nothing flow through its tiers and ports. Who is told of it is in `losses.py`.

Simplification: everybody knows at once. Detection and rerouting take from microseconds to seconds in real networks;
write a later end of the fault, or a latency, for those. Read retries of what is simplex slow its writes as much.
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
from controller.errors import BadTopology, DeviceUnreachable, LinkFailed
from controller.execute.template import Bound, Template
from controller.fabric.loads import Fabric
from controller.faults.effects import Effects
from controller.faults.part_ratios import PartChange, part_changes, ratios_of
from controller.plan.ops import Kernel
from controller.topology.fault import Component

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
        full_rate: rate limits on devices that are as fast as declared.
        weights: what the loads are now.
    """

    number: int
    template: Template
    bound: Bound
    full_rate: FloatArray
    weights: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.weights = self.bound.load_weight.copy()
        base = self.bound
        self.bound = Bound(base.work, base.latency_s, base.rate_limit, base.load_weight.copy(), base.limits)


class PartChanges:
    """The schedule of one run and what has come of it.

    Attributes:
        epoch: an object that is another one whenever other links work; templates are compiled for one.
        now: what is wrong at present.
        link_reports, part_reports: what happened to links, and to everything else, for the outcome.
    """

    def __init__(self, fabric: Fabric, engine: Engine, effects: Iterable[tuple[float, Effects]]) -> None:
        """Args are the parts, the clock, and what is wrong from which instant on, ascending."""
        self._fabric, self._engine = fabric, engine
        self._waiting: list[tuple[float, Effects, list[tuple[PartChange, dict[str, Any]]]]] = []
        self._failed_at: dict[str, float] = {}
        self.epoch = object()
        self.now = Effects()
        self.link_reports: list[dict[str, Any]] = []
        self.part_reports: list[dict[str, Any]] = []
        before = self.now
        for at_s, after in effects:
            changed = (before.frozen ^ after.frozen) | (before.dead_devices ^ after.dead_devices)
            found = tuple(part_changes(at_s, before, after))
            _refuse_per_flow(fabric, found)
            changes = [(change, self._report(change, changed)) for change in found]
            self._waiting.append((at_s, after, changes))
            before = after
        self._done = 0

    @property
    def declared(self) -> bool:
        """Whether anything changes at all."""
        return bool(self._waiting)

    @property
    def next_at(self) -> float:
        """Instant of the next change [s]; inf when there is none."""
        return self._waiting[self._done][0] if self._done < len(self._waiting) else inf

    def apply(self, now: float, running: Iterable[Moved]) -> None:
        """Lets everything happen that is due at `now` [s], one change after the other."""
        plans = tuple(running)
        while self.next_at <= now:
            _, effects, changes = self._waiting[self._done]
            self._done += 1
            slower = {*self.now.compute.items()} ^ {*effects.compute.items()}
            self.now = effects
            for change, report in changes:
                report["happened"] = True
                self._carry(change, plans, report)
            if slower:
                self._slow(frozenset(device for device, _ in slower), plans)

    def submitted(self, bound: Bound, template: Template) -> Bound:
        """The numbers of a plan that is submitted now: slower on slow devices, later over links that lose packets."""
        effects = self.now
        if not effects.compute and not effects.added_latency_s:
            return bound
        rate_limit, latency_s = bound.rate_limit.copy(), bound.latency_s.copy()
        for row, index in enumerate(template.op_of.tolist()):
            op = template.plan.ops[index] if index >= 0 else None
            if isinstance(op, Kernel):
                rate_limit[row] *= effects.compute.get(op.device, 1.0)
        if effects.added_latency_s:
            added = np.zeros(len(self._fabric.capacity))
            for part, more_s in effects.added_latency_s.items():
                added[list(self._fabric.link_resources(part.name))] = more_s
            weighed = np.where(bound.load_weight > 0.0, added[template.activities.load_resource], 0.0)
            latency_s += np.bincount(template.row_of_load, weighed, len(latency_s))
        return Bound(bound.work, latency_s, rate_limit, bound.load_weight, bound.limits)

    def stall(self, stuck: Stuck, now: float, name: Callable[[int, int], str]) -> LinkFailed | DeviceUnreachable | None:
        """The error for people when the engine is stuck at a failed part; None when it is stuck elsewhere."""
        names = [name(*where) for where in stuck.stalled[:NAMED]]
        more = len(stuck.stalled) - len(names)
        waiting = ", ".join(names) + (f" and {more} more" if more else "")
        for device in sorted(self.now.frozen | self.now.dead_devices):
            if any(self._fabric.resources[resource].owner == device for resource in stuck.resources):
                how = "died" if device in self.now.dead_devices else "froze and never went on"
                return DeviceUnreachable(
                    f"{device} {how}; since {now:g} s nothing can go on. Waiting on it: {waiting}; "
                    f"{len(stuck.waiting)} more ops wait for those",
                    device,
                )
        at_fault = [
            link
            for link in sorted(self._fabric.down)
            if any(resource in stuck.resources for resource in self._fabric.link_resources(link))
        ]
        if at_fault:
            since = ", ".join(f"{link} failed at {self._failed_at[link]:g} s" for link in at_fault)
            return LinkFailed(
                f"link {since} and never came back; since {now:g} s nothing can go on. Waiting on it: {waiting}; "
                f"{len(stuck.waiting)} more ops wait for those. No other path of equal cost works; let the link come "
                f"back (LINK@TIME:UNTIL), or declare another path",
                tuple(at_fault),
            )
        for part, ratio in self.now.bandwidth.items():
            owner = part.name.rpartition(".")[0]
            if ratio == 0.0 and any(resource in stuck.resources for resource in self._resources(part)):
                return DeviceUnreachable(
                    f"{part} failed and never came back; since {now:g} s nothing can go on. Waiting on it: {waiting}; "
                    f"{len(stuck.waiting)} more ops wait for those; let it come back ('for: 5 ms')",
                    owner,
                )
        return None

    def _report(self, change: PartChange, changed: frozenset[str]) -> dict[str, Any]:
        """The entry of a change; tiers and ports of a device that dies or freezes go without saying."""
        report: dict[str, Any]
        if change.part.kind == "link":
            report = {"link": change.part.name}
            self.link_reports.append(report)
        else:
            report = {"part": str(change.part), "what": change.what}
            if change.part.name.rpartition(".")[0] not in changed:
                self.part_reports.append(report)
        report |= {"at_s": change.at_s, "share": change.ratio, "happened": False}
        if change.part.kind == "link":
            report["moved_transfers"] = 0
        return report

    def _carry(self, change: PartChange, plans: tuple[Moved, ...], report: dict[str, Any]) -> None:
        part = change.part
        if part.kind == "device":
            return
        for resource, ratio in ratios_of(self._fabric_sides(part), self.now, part):
            self._engine.set_capacity(resource, float(self._fabric.capacity[resource]) * ratio)
        if part.kind != "link":
            return
        down = self._fabric.down - {part.name}
        if change.ratio == 0.0:
            down |= {part.name}
            self._failed_at[part.name] = change.at_s
        if down != self._fabric.down:
            self._fabric.down = down
            self.epoch = object()
            report["moved_transfers"] = sum(self._move(each) for each in plans)

    def _fabric_sides(self, part: Component) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Resources that reads and writes of a part load."""
        if part.kind == "link":
            forward, backward = self._fabric.link_resources(part.name)
            return (forward,), (backward,)
        device, _, name = part.name.rpartition(".")
        side = self._fabric.memory if part.kind == "tier" else self._fabric.port
        read, write = (tuple(resource for resource, _ in side(device, name, way)) for way in (0, 1))
        return read, write

    def _resources(self, part: Component) -> tuple[int, ...]:
        read, write = self._fabric_sides(part)
        return (*read, *write)

    def _slow(self, devices: frozenset[str], plans: Iterable[Moved]) -> None:
        """Gives kernels on `devices` that have not ended the speed of this instant."""
        for plan in plans:
            ended = ~np.isnan(self._engine.end_at(plan.number))
            for row, index in enumerate(plan.template.op_of.tolist()):
                op = plan.template.plan.ops[index] if index >= 0 else None
                if isinstance(op, Kernel) and op.device in devices and not ended[row]:
                    alone = plan.full_rate[row]
                    self._engine.limit_rate(plan.number, row, float(alone * self.now.compute.get(op.device, 1.0)))

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


def _refuse_per_flow(fabric: Fabric, changes: Iterable[PartChange]) -> None:
    """Refuses changes of what each flow has for itself: no capacity of the run stands for it.

    Raises:
        BadTopology: names the link.
    """
    alone = {link.name for link in fabric.topology.links if link.per_flow}
    for change in changes:
        if change.part.kind == "link" and change.part.name in alone:
            raise BadTopology(
                f"{change.part.name} limits each flow alone (per_flow), which cannot change in a run; declare its "
                f"links with other rates, or without per_flow"
            )
