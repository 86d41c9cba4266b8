"""One collective on the virtual executor's engine, with the record of every message that its transport would keep.

The plan is compiled once for each operation and group; every set of changed components runs the same activities on the
engine with other capacities. Messages are summed up by pair of ranks: how long the receiver waited for each to begin,
and how long it then took.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from controller.collectives.call import Call
from controller.collectives.exchange import Software
from controller.collectives.table import algorithm
from controller.diagnosis.pair_records import pair_records
from controller.engine import Engine
from controller.engine.errors import EngineError
from controller.execute.costs import Costs
from controller.execute.template import Template
from controller.fabric.loads import Fabric
from controller.plan.build import PlanBuilder
from controller.plan.ops import Kernel, Transfer
from controller.topology.schema import Topology

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]
START_S = 1e-9
"""Stands for the arrival of each rank in the plan; the engine gets the real one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs from the declared hardware; an empty one is the healthy cluster.

    Attributes:
        slow: times longer that kernels take, by device.
        bandwidth: share of the capacity that is left, by link.
    """

    slow: tuple[tuple[str, float], ...] = ()
    bandwidth: tuple[tuple[str, float], ...] = ()


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class ExecutedCollective:
    """What one execution came to; ranks are those of the group.

    Attributes:
        source, target: ranks of each pair that exchanged messages, in order (m).
        moved_bytes, begun_bytes, due_bytes: what came, what its sender was ready to send, and what was to come; the
            same unless a link is dead [bytes] (m).
        waited_s: that the receiver waited for messages to begin [s] (m).
        transferred_s: that messages took once they had begun [s] (m).
        done_s: when each rank had nothing more to do, from the start [s] (n).
    """

    source: Numbers
    target: Numbers
    moved_bytes: Times
    begun_bytes: Times
    due_bytes: Times
    waited_s: Times
    transferred_s: Times
    done_s: Times

    @property
    def time_s(self) -> float:
        """Duration of the whole [s]."""
        return float(self.done_s.max(initial=0.0))


class CollectiveExecution:
    """A collective that is compiled once and executed under many changes.

    Args:
        costs: of the declared cluster.
        call: what is called.
        name: of the algorithm.
    """

    def __init__(self, costs: Costs, call: Call, name: str) -> None:
        self.call, self.name = call, name
        self._fabric = costs.fabric
        build = PlanBuilder(f"{call.collective} {name}")
        algorithm(call.collective, name)(call.exchange(build, Software("library", start_s=START_S)))
        self._template = Template(build.plan(), costs, {})
        self._bound = self._template.first_bound()
        rank_of = {device: rank for rank, device in enumerate(call.group.devices)}
        ops, op_of = self._template.plan.ops, self._template.op_of
        count = len(op_of)
        self._source, self._target = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
        self._kernel_of, self._is_start = np.full(count, -1, np.int64), np.zeros(count, bool)
        for row, index in enumerate(op_of.tolist()):
            op = ops[index] if index >= 0 else None
            if isinstance(op, Transfer):
                self._source[row] = rank_of[op.sources[0].buffer.device]
                self._target[row] = rank_of[op.destinations[0].buffer.device]
            elif isinstance(op, Kernel):
                self._kernel_of[row] = rank_of[op.device]
                self._is_start[row] = op.op == "delay"
        kernels = self._kernel_of[(self._kernel_of >= 0) & ~self._is_start]
        self._computing = frozenset(call.group.devices[rank] for rank in np.unique(kernels).tolist())
        self._touching: dict[Changes, Changes] = {}
        self._known: dict[Changes, ExecutedCollective] = {}
        self.executions = 0

    def run(self, changes: Changes = NO_CHANGES) -> ExecutedCollective:
        """What the collective comes to when all ranks enter it at once; executed once for each set of changes."""
        changes = self.touching(changes)
        if changes not in self._known:
            self._known[changes] = self._execute(changes, np.zeros(self.call.world_size))
        return self._known[changes]

    def run_from(self, arrival_s: Times, changes: Changes = NO_CHANGES) -> ExecutedCollective:
        """What it comes to when each rank enters it at an instant of its own [s] (n); times count from 0."""
        return self._execute(changes, arrival_s)

    def uses(self, link: str) -> bool:
        """Whether any message goes over `link`."""
        loads = self._template.activities.load_resource[self._bound.load_weight > 0]
        return bool(np.isin(self._fabric.link_resources(link), loads).any())

    def touching(self, changes: Changes) -> Changes:
        """Those of the changes that make a difference to this collective: devices with kernels, links that it uses."""
        if changes not in self._touching:
            self._touching[changes] = Changes(
                tuple(each for each in changes.slow if each[0] in self._computing),
                tuple(each for each in changes.bandwidth if self.uses(each[0])),
            )
        return self._touching[changes]

    def pairs_over(self, link: str) -> frozenset[tuple[int, int]]:
        """Pairs of ranks whose messages go over `link`."""
        rows = np.repeat(np.arange(len(self._source)), np.diff(self._template.activities.load_start))
        hit = np.isin(self._template.activities.load_resource, self._fabric.link_resources(link))
        hit &= self._bound.load_weight > 0
        found = rows[hit]
        return frozenset(zip(self._source[found].tolist(), self._target[found].tolist(), strict=True))

    def _execute(self, changes: Changes, arrival_s: Times) -> ExecutedCollective:
        self.executions += 1
        engine = Engine()
        engine.add_resources(self._fabric.capacity)
        engine.add_queues(self._fabric.slots)
        if self._fabric.connections:
            engine.add_queues(np.ones(len(self._fabric.connections), np.int32), pipelined=True)
        for link, ratio in changes.bandwidth:
            for resource in self._fabric.link_resources(link):
                engine.set_capacity(resource, float(self._fabric.capacity[resource]) * ratio)
        latency_s, rate_limit = self._bound.latency_s.copy(), self._bound.rate_limit.copy()
        starts = np.flatnonzero(self._is_start)
        latency_s[starts] = arrival_s[self._kernel_of[starts]]
        slow = dict(changes.slow)
        for rank, device in enumerate(self.call.group.devices):
            if device in slow:
                own = (self._kernel_of == rank) & ~self._is_start
                latency_s[own] *= slow[device]
                rate_limit[own] = self._alone(own) / slow[device]
        ticket = engine.submit(
            self._template.activities,
            work=self._bound.work,
            latency_s=latency_s,
            rate_limit=rate_limit,
            load_weight=self._bound.load_weight,
        )
        # A dead link holds up whatever comes behind it: then records end where the messages did.
        with suppress(EngineError):
            engine.run()
        return self._record(engine.start_at(ticket), engine.end_at(ticket), arrival_s)

    def _alone(self, rows: NDArray[np.bool_]) -> Times:
        """How fast kernels flow with nothing beside them."""
        activities, limit = self._template.activities, self._bound.rate_limit[rows].copy()
        for number, row in enumerate(np.flatnonzero(rows).tolist()):
            span = slice(int(activities.load_start[row]), int(activities.load_start[row + 1]))
            weight = self._bound.load_weight[span]
            capacity = self._fabric.capacity[activities.load_resource[span]]
            limit[number] = min(limit[number], float((capacity[weight > 0] / weight[weight > 0]).min(initial=np.inf)))
        return limit

    def _record(self, start_at: Times, end_at: Times, arrival_s: Times) -> ExecutedCollective:
        finish = np.where(np.isfinite(end_at), end_at, np.inf)
        done = arrival_s.copy()
        for column in (self._source, self._target, self._kernel_of):
            there = column >= 0
            np.maximum.at(done, column[there], finish[there])
        found = pair_records(self._source, self._target, self._bound.work, start_at, end_at, arrival_s)
        return ExecutedCollective(
            found.source, found.target, found.moved_bytes, found.begun_bytes, found.due_bytes, found.waited_s,
            found.transferred_s, done,
        )  # fmt: skip


@dataclass(slots=True)
class Executions:
    """Every collective of a campaign, compiled once.

    Attributes:
        topology: the declared cluster.
    """

    topology: Topology
    _costs: Costs = field(init=False)
    _known: dict[tuple[Call, str], CollectiveExecution] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._costs = Costs(self.topology, Fabric(self.topology))

    def of(self, call: Call, name: str) -> CollectiveExecution:
        """The execution of a call by an algorithm."""
        key = (call, name)
        if key not in self._known:
            self._known[key] = CollectiveExecution(self._costs, call, name)
        return self._known[key]

    @property
    def count(self) -> int:
        """Executions so far."""
        return sum(each.executions for each in self._known.values())

    def every(self) -> tuple[CollectiveExecution, ...]:
        """All collectives, in the order in which they were compiled."""
        return tuple(self._known.values())
