"""What an op costs on a topology: from the operation table, the device models and the fabric."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from controller.fabric.loads import Fabric
from controller.fabric.parts import Load
from controller.fabric.routing.flow import Shares
from controller.plan.bound import bind_kernel, view_bytes
from controller.plan.ops import Kernel, Plan, Transfer, View
from controller.plan.size import Bindings
from controller.topology.load_store import memory_name, spec_with_far
from controller.topology.schema import Topology
from node.hardware.cost import kernel_cost


@dataclass(frozen=True, slots=True)
class Cost:
    """What one activity puts on the engine; the fields of `Activities` for one row."""

    work: float
    latency_s: float
    load: Load
    rate_limit: float
    limit: str = ""
    """What holds it back with nothing beside it, where no resource does: ``compute``, a tier, ``software path``."""


class Costs:
    """Costs of ops on one topology, from the operation table, the device models and the fabric."""

    def __init__(self, topology: Topology, fabric: Fabric) -> None:
        self.topology, self.fabric = topology, fabric

    def of(self, op: Kernel | Transfer, destination: int, bindings: Bindings, shares: Shares | None = None) -> Cost:
        """Cost of a launch, or of bringing the source of a transfer to one of its destinations."""
        if isinstance(op, Kernel):
            return self.of_kernel(op, bindings)
        return self.of_transfer(op, destination, bindings, shares)

    def of_kernel(self, kernel: Kernel, bindings: Bindings) -> Cost:
        """Cost of a launch."""
        bound = bind_kernel(kernel, bindings)
        bound.check()
        reads, writes = places_of(kernel.inputs), places_of(kernel.outputs)
        cost = kernel_cost(
            spec_with_far(self.topology, kernel.device, (*reads, *writes)),
            bound.demand(),
            tuple(memory_name(kernel.device, *place) for place in reads),
            tuple(memory_name(kernel.device, *place) for place in writes),
            kernel.queue,
        )
        load = self.fabric.kernel_load(kernel.device, cost)
        return Cost(load.work, load.latency_s, load, load.rate_limit, cost.bound)

    def alone_bytes_per_s(self, cost: Cost) -> float:
        """How fast an activity flows with nothing beside it."""
        taken = cost.load.weights > 0
        capacities = self.fabric.capacity[cost.load.resources[taken]] / cost.load.weights[taken]
        return float(min(cost.rate_limit, capacities.min(initial=np.inf)))

    def combined(self, transfer: Transfer) -> bool:
        """Whether the network carries out a transfer of several sources or destinations as one."""
        if len(transfer.sources) > 1:
            return True
        return len(transfer.destinations) > 1 and self.fabric.multiplies(
            places_of(transfer.sources)[0], places_of(transfer.destinations)
        )

    def of_transfer(
        self, transfer: Transfer, destination: int, bindings: Bindings, shares: Shares | None = None
    ) -> Cost:
        """Cost of bringing the source to one of its destinations, over the paths of `shares` where it has several."""
        source, target = transfer.sources[0], transfer.destinations[destination]
        if self.combined(transfer):
            combined = self.fabric.combined_load(
                places_of(transfer.sources),
                places_of(transfer.destinations),
                source.buffer.dtype if len(transfer.sources) > 1 else "",
            )
            rate, name = _slowest(combined, transfer)
            return Cost(float(view_bytes(source, bindings)), combined.latency_s, combined, rate, name)
        load = self.fabric.transfer_load(
            source.buffer.device,
            source.buffer.tier,
            target.buffer.device,
            target.buffer.tier,
            pageable=transfer.path == "pageable",
            shares=shares,
        )
        nbytes = view_bytes(source, bindings)
        if transfer.path == "absorbed":
            load = self.fabric.absorbed_load(
                load, source.buffer.device, target.buffer.device, target.buffer.tier, nbytes
            )
        rate, name = _slowest(load, transfer)
        return Cost(float(nbytes), load.latency_s, load, rate, name)


def _slowest(load: Load, transfer: Transfer) -> tuple[float, str]:
    """Rate limit of a transfer [bytes/s], and what sets it."""
    declared = transfer.rate_limit_bytes_per_s
    if declared and declared < load.rate_limit:
        return declared, "software path"
    return load.rate_limit, "pageable memory" if transfer.path == "pageable" else "port"


def places_of(views: tuple[View, ...]) -> tuple[tuple[str, str], ...]:
    """Device and tier of each view."""
    return tuple((view.buffer.device, view.buffer.tier) for view in views)


def spread_of(plan: Plan, fabric: Fabric, *, stranded: bool = False) -> dict[tuple[int, int], Shares]:
    """(op, destination) to its paths, of every transfer that the routing of the fabric has a choice for.

    Args:
        plan: with the transfers.
        fabric: that routes them.
        stranded: whether those that find no path that works have paths too (`Fabric.spread`).
    """
    if not fabric.routes_flows:
        return {}
    step = [0] * len(plan.ops)
    places: list[tuple[int, int]] = []
    wanted: list[tuple[str, str, Hashable, int]] = []
    for index, op in enumerate(plan.ops):
        step[index] = 1 + max((step[earlier] for earlier in plan.after[index]), default=-1)
        if isinstance(op, Transfer) and len(op.sources) == 1:
            source = op.sources[0]
            for destination, target in enumerate(op.destinations):
                if target.buffer.device != source.buffer.device:
                    places.append((index, destination))
                    size = (source.buffer.dtype, source.shape)
                    wanted.append((source.buffer.device, target.buffer.device, size, step[index]))
    found = zip(places, fabric.spread(wanted, stranded=stranded), strict=True)
    return {place: shares for place, shares in found if shares is not None}
