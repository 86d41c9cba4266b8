"""What bounds each kind of step of a call: latency, a resource, or others on the same resource."""

from __future__ import annotations

from dataclasses import dataclass

from controller.collectives.measure.calls import MeasuredCall
from controller.execute.costs import Cost, Costs, spread_of
from controller.execute.outcome import Outcome
from controller.fabric.loads import Fabric
from controller.plan.ops import Kernel, Transfer
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class StepSummary:
    """All ops of one label; sizes of the longest one.

    Attributes:
        label: what the plan calls them.
        count: how many.
        mean_s: how long one took on average, waiting for nothing but what it shares [s].
        latency_s: of the longest one, paid before its bytes flow [s].
        alone_s: of the longest one, its bytes with nothing beside it [s].
        tightest: the resource that limits it alone, ``its own rate``, or ``a fixed time`` where no byte flows.
    """

    label: str
    count: int
    mean_s: float
    latency_s: float
    alone_s: float
    tightest: str

    @property
    def bound(self) -> str:
        """In words: what most of its time goes into."""
        waits_s = self.mean_s - self.latency_s - self.alone_s
        if waits_s > max(self.latency_s, self.alone_s):
            return f"sharing of {self.tightest}"
        if self.latency_s >= self.alone_s:
            return "latency"
        return self.tightest


def steps_of(topology: Topology, entry: MeasuredCall, outcome: Outcome) -> tuple[StepSummary, ...]:
    """The kinds of step of a call that was measured, in the order of the plan.

    Args:
        topology: as the entry's protocol sees it.
        entry: after `measure`.
        outcome: what `measure` returned.
    """
    costs = Costs(topology, Fabric(topology))
    longest: dict[str, tuple[float, float, Cost]] = {}
    spread = spread_of(entry.plan, costs.fabric)
    for index, op in enumerate(entry.plan.ops):
        if isinstance(op, Kernel):
            label, cost = op.label or op.op, costs.of_kernel(op, {})
        elif isinstance(op, Transfer):
            label, cost = op.label or "transfer", costs.of_transfer(op, 0, {}, spread.get((index, 0)))
        else:
            continue
        alone_s = cost.work / costs.alone_bytes_per_s(cost) if cost.work else 0.0
        if label not in longest or longest[label][0] < cost.latency_s + alone_s:
            longest[label] = (cost.latency_s + alone_s, alone_s, cost)
    times = {each.label: each for each in outcome.op_times}
    return tuple(
        StepSummary(
            label,
            times[label].count,
            times[label].time_s / times[label].count,
            cost.latency_s,
            alone_s,
            _tightest(costs, cost),
        )
        for label, (_, alone_s, cost) in longest.items()
    )


def _tightest(costs: Costs, cost: Cost) -> str:
    """What lets the op flow at no more than it does alone."""
    if not len(cost.load.resources):
        return "a fixed time"
    alone = costs.alone_bytes_per_s(cost)
    for resource, weight in zip(cost.load.resources.tolist(), cost.load.weights.tolist(), strict=True):
        if costs.fabric.capacity[resource] / weight <= alone:
            return str(costs.fabric.resource_names[resource])
    return "its own rate"
