"""A plan compiled for the engine: arrays that a binding of the open sizes refills without touching the plan again.

Kernels of one signature (operation, device, tiers, shapes, attributes) cost the same, so a decoder of forty layers has
some twenty costs. Binding recomputes only the signatures that hold an open size and scatters the result: a decode step
at another context length costs a handful of cost-model calls, not a pass over the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.execute.activity_rows import ActivityRows, IntArray
from controller.execute.costs import Cost, Costs, spread_of
from controller.fabric.routing.flow import Shares
from controller.plan.author import where
from controller.plan.bound import has_open_size, is_open
from controller.plan.extents import describe
from controller.plan.ops import Kernel, Plan, Transfer
from controller.plan.size import Bindings
from node.errors import UserInput

FloatArray = npt.NDArray[np.float64]


@dataclass(slots=True)
class _OpenCost:
    """A signature with an open size, and the rows that have it."""

    op: Kernel | Transfer
    destination: int
    resources: IntArray
    shares: Shares | None
    rows: list[int] = field(default_factory=list)
    row_array: IntArray = field(default_factory=lambda: np.empty(0, np.int32))
    weight_slots: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64))


@dataclass(slots=True)
class Bound:
    """The arrays of a template with numbers."""

    work: FloatArray
    latency_s: FloatArray
    rate_limit: FloatArray
    load_weight: FloatArray
    limits: list[str] = field(default_factory=list)
    """Of every row, as `Cost.limit`."""


class Template:
    """A plan as engine activities.

    Attributes:
        activities: rows for the engine; open rows hold the costs of the first binding.
        op_of: op index of each row; -1 for the host's launch of a kernel.
        labels: label of each group of `label_of`.
        label_of: index into `labels` for each row.
    """

    def __init__(self, plan: Plan, costs: Costs, bindings: Bindings) -> None:
        self.plan = plan
        self.fabric = costs.fabric
        self._costs = costs
        self._open: list[_OpenCost] = []
        self._transfer_rows: list[tuple[int, int, int]] = []
        self._build(bindings)

    def first_bound(self) -> Bound:
        """The arrays of the binding that the template was built with."""
        base = self.activities
        return Bound(base.work, base.latency_s, base.rate_limit, base.load_weight, self._limits)

    def bind(self, bindings: Bindings) -> Bound | None:
        """The arrays for these open sizes; None when an op now loads other resources (no byte of a tier any more)."""
        base = self.activities
        bound = Bound(
            base.work.copy(), base.latency_s.copy(), base.rate_limit.copy(), base.load_weight.copy(), self._limits
        )  # fmt: skip
        for item in self._open:
            cost = self._evaluate(item.op, item.destination, bindings, item.shares)
            if not np.array_equal(cost.load.resources, item.resources):
                return None
            bound.work[item.row_array] = cost.work
            bound.latency_s[item.row_array] = cost.latency_s
            bound.rate_limit[item.row_array] = cost.rate_limit
            bound.load_weight[item.weight_slots] = cost.load.weights[:, None]
            if cost.limit != self._limits[item.rows[0]]:
                if bound.limits is self._limits:
                    bound.limits = list(self._limits)
                for row in item.rows:
                    bound.limits[row] = cost.limit
        return bound

    def rerouted(self, load_weight: FloatArray) -> list[tuple[int, slice, FloatArray]]:
        """What transfers would load if they were spread anew, over the links that work now.

        Args:
            load_weight: of every load, as submitted or as last changed.

        Returns:
            (row, its loads, their new weights) of every transfer that takes other paths than `load_weight` says.
        """
        spread = spread_of(self.plan, self.fabric)
        found: list[tuple[int, slice, FloatArray]] = []
        for row, index, destination in self._transfer_rows:
            shares = spread.get((index, destination))
            op = self.plan.ops[index]
            if shares is None or not isinstance(op, Transfer):
                continue
            source, target = op.sources[0].buffer, op.destinations[destination].buffer
            load = self.fabric.transfer_load(source.device, source.tier, target.device, target.tier, shares=shares)
            start, stop = self.activities.load_start[row : row + 2].tolist()
            if not np.array_equal(load.weights, load_weight[start:stop]):
                found.append((row, slice(start, stop), load.weights))
        return found

    @cached_property
    def rows_ahead(self) -> tuple[tuple[int, ...], ...]:
        """For each row what may hold it up: its edges, and as many rows ahead in its queue as that has slots."""
        activities, slots, is_declared = self.activities, self.fabric.slots, self.fabric.is_declared
        recent: dict[int, list[int]] = {}
        found: list[tuple[int, ...]] = []
        starts, deps = activities.dep_start.tolist(), activities.dep.tolist()
        for row, queue in enumerate(activities.queue.tolist()):
            waits = deps[starts[row] : starts[row + 1]]
            if queue >= 0:
                line = recent.setdefault(queue, [])
                waits = [*waits, *line[-(int(slots[queue]) if is_declared(queue) else 1) :]]
                line.append(row)
            found.append(tuple(waits))
        return tuple(found)

    def row_names(self) -> list[str]:
        """The label of every row."""
        return [self.labels[index] for index in self.label_of.tolist()]

    def _build(self, bindings: Bindings) -> None:
        fabric, topology = self._costs.fabric, self._costs.topology
        spread = spread_of(self.plan, fabric, stranded=True)
        closed: dict[Any, Cost] = {}
        opened: dict[Any, tuple[Cost, _OpenCost]] = {}
        rows = ActivityRows()
        last_rows: list[tuple[int, ...]] = []
        queues: dict[tuple[str, str], int] = {}
        issue: dict[str, tuple[int, float] | None] = {}

        def queue_index(device: str, name: str) -> int:
            key = (device, name)
            if key not in queues:
                queues[key] = fabric.queue_index(device, name)
            return queues[key]

        for index, op in enumerate(self.plan.ops):
            waits = self.plan.after[index]
            after = tuple(row for earlier in waits for row in last_rows[earlier])
            if isinstance(op, Kernel):
                key: Any = (
                    op.op,
                    op.device,
                    op.queue,
                    tuple((view.buffer.device, view.buffer.tier, view.buffer.dtype, view.shape) for view in op.inputs),
                    tuple((view.buffer.device, view.buffer.tier, view.buffer.dtype, view.shape) for view in op.outputs),
                    tuple(op.attributes.items()),
                )
                cost, item = self._cost_of(op, 0, key, is_open(op), closed, opened, bindings, None)
                if op.device not in issue:
                    spec = topology.devices[op.device].spec.issue_queue
                    paid = spec is not None and spec.launch_s > 0
                    issue[op.device] = (queue_index(op.device, spec.name), spec.launch_s) if spec and paid else None
                host = issue[op.device]
                if host is not None:
                    after = (*after, rows.add(None, host[0], "launch", -1, (), host[1]))
                on = queue_index(op.device, op.queue)
                row = rows.add(cost, on, op.label or op.op, index, after)
                if item is not None:
                    item.rows.append(row)
                last_rows.append((row,))
            elif isinstance(op, Transfer):
                on = queue_index(op.sources[0].buffer.device, op.queue) if op.queue else -1
                ends: list[int] = []
                if self._costs.combined(op):
                    key = (op.sources, op.destinations, op.rate_limit_bytes_per_s)
                    open_here = any(map(has_open_size, op.sources))
                    cost, item = self._cost_of(op, 0, key, open_here, closed, opened, bindings, None)
                    row = rows.add(cost, on, op.label or "transfer", index, after)
                    if item is not None:
                        item.rows.append(row)
                    last_rows.append((row,))
                    continue
                for destination, target in enumerate(op.destinations):
                    source = op.sources[0]
                    shares = spread.get((index, destination))
                    key = (
                        source.buffer.device, source.buffer.tier, target.buffer.device, target.buffer.tier,
                        source.buffer.dtype, source.shape, op.path, op.rate_limit_bytes_per_s, shares,
                    )  # fmt: skip
                    if op.connection:
                        on = fabric.connection_index(source.buffer.device, target.buffer.device, op.connection)
                    is_open_here = has_open_size(source)
                    cost, item = self._cost_of(op, destination, key, is_open_here, closed, opened, bindings, shares)
                    row = rows.add(cost, on, op.label or "transfer", index, after)
                    if fabric.routes_flows:
                        self._transfer_rows.append((row, index, destination))
                    if item is not None:
                        item.rows.append(row)
                    ends.append(row)
                last_rows.append(tuple(ends))
            else:
                last_rows.append((rows.add(None, -1, "allocation", index, after),))
        self.activities, self.op_of, self.label_of = rows.arrays()
        self.labels, self._limits = rows.labels, rows.limits
        load_start = self.activities.load_start
        self.row_of_load = np.repeat(np.arange(len(load_start) - 1), np.diff(load_start))
        for open_cost in self._open:
            open_cost.row_array = np.array(open_cost.rows, np.int32)
            slots = np.arange(len(open_cost.resources))[:, None]
            open_cost.weight_slots = load_start[open_cost.row_array][None, :] + slots

    def _cost_of(
        self,
        op: Kernel | Transfer,
        destination: int,
        key: Any,
        is_open_op: bool,
        closed: dict[Any, Cost],
        opened: dict[Any, tuple[Cost, _OpenCost]],
        bindings: Bindings,
        shares: Shares | None,
    ) -> tuple[Cost, _OpenCost | None]:
        if not is_open_op:
            cost = closed.get(key)
            if cost is None:
                cost = closed[key] = self._evaluate(op, destination, bindings, shares)
            return cost, None
        pair = opened.get(key)
        if pair is None:
            cost = self._evaluate(op, destination, bindings, shares)
            pair = opened[key] = (cost, _OpenCost(op, destination, cost.load.resources, shares))
            self._open.append(pair[1])
        return pair

    def _evaluate(self, op: Kernel | Transfer, destination: int, bindings: Bindings, shares: Shares | None) -> Cost:
        try:
            return self._costs.of(op, destination, bindings, shares)
        except UserInput as error:
            index = next(index for index, one in enumerate(self.plan.ops) if one is op)
            error.args = (f"{where(self.plan, index)} ({describe(op)}): {error}",)
            raise
