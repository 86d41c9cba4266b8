"""What adding a chunk costs on every rank, found once for each sheet and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.collectives.bulk.loads import Numbers, Places
from controller.collectives.call import Call
from controller.execute.costs import Cost, Costs
from controller.plan.ops import Buffer, Kernel


@dataclass(frozen=True, slots=True)
class Additions:
    """Costs by rank and size. Entries of a size of zero are zero, and nobody uses them.

    Attributes:
        sizes: the sizes that occur, ascending, zero first (z) [elements].
        work: what one addition has to do (z, n).
        latency_s: paid before (z, n) [s].
        rate_limit: of it alone (z, n).
        weight: of each load (z, m).
        resource: of each load, by rank (m).
        start: loads of rank r are ``start[r]:start[r + 1]`` (n + 1).
        queue: that it runs in, by rank (n).
        issue: queue of the host that launches it, by rank; -1 where launching costs nothing (n).
        launch_s: for that (n) [s].
    """

    sizes: Numbers
    work: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    rate_limit: NDArray[np.float64]
    weight: NDArray[np.float64]
    resource: NDArray[np.int32]
    start: Numbers
    queue: NDArray[np.int32]
    issue: NDArray[np.int32]
    launch_s: NDArray[np.float64]


def additions(call: Call, costs: Costs, places: Places, ranks: Numbers, sizes: Numbers) -> Additions:
    """The costs of adding chunks of `sizes` elements, zero among them, on each of `ranks`."""
    sheet = places.sheet[ranks]
    _, example, of_sheet = np.unique(sheet, return_index=True, return_inverse=True)
    found = [[_cost(call, costs, int(ranks[at]), int(size)) for at in example] for size in sizes[1:]]
    rows = [found[0][number].load.resources - int(places.first[ranks[at]]) for number, at in enumerate(example)]
    start = np.concatenate([[0], np.cumsum([len(rows[number]) for number in of_sheet])])
    slot = np.concatenate([rows[number] for number in of_sheet])
    resource = slot + np.repeat(places.first[ranks], np.diff(start))
    none = np.zeros((1, len(ranks)))

    def by_rank(values: list[list[float]]) -> NDArray[np.float64]:
        return np.concatenate([none, np.array(values)[:, of_sheet]])

    weights = [np.concatenate([row[number].load.weights for number in of_sheet]) for row in found]
    names = call.group.devices
    fabric, devices = costs.fabric, costs.topology.devices
    queue = np.array([fabric.queue_index(names[rank]) for rank in ranks], np.int32)
    issue, launch_s = np.full(len(ranks), -1, np.int32), np.zeros(len(ranks))
    for at, rank in enumerate(ranks):
        spec = devices[names[rank]].spec.issue_queue
        if spec is not None and spec.launch_s > 0:
            issue[at], launch_s[at] = fabric.queue_index(names[rank], spec.name), spec.launch_s
    return Additions(
        sizes,
        by_rank([[cost.work for cost in row] for row in found]),
        by_rank([[cost.latency_s for cost in row] for row in found]),
        np.concatenate([none + np.inf, by_rank([[cost.rate_limit for cost in row] for row in found])[1:]]),
        np.concatenate([weights[0][None, :], np.array(weights)]),
        resource.astype(np.int32),
        start.astype(np.int64),
        queue,
        issue,
        launch_s,
    )


def _cost(call: Call, costs: Costs, rank: int, size: int) -> Cost:
    device, tier = call.group.devices[rank], call.group.tiers[rank]
    operand = Buffer(device, tier, "operand", call.dtype, (size,)).view()
    return costs.of_kernel(Kernel("reduce", device, (operand, operand), (operand,), {"kind": "sum"}), {})


def start_s(costs: Costs, device: str, base_s: float) -> float:
    """How long the start of a protocol takes on a device [s]."""
    cost = costs.of_kernel(Kernel("delay", device, (), (), {"seconds": base_s}), {})
    return cost.latency_s + cost.work / cost.rate_limit
