"""What many transfers load, found for one of each kind and carried over to the others by arithmetic.

Two devices are of one kind when they share one sheet and hang on the same switches, by links of equal latency, in the
same order of names. For such devices the search for a route decides alike (it goes by hops, latency and names, and a
device is no way through), so the route of one pair is that of all pairs of these kinds, with the first and last link
exchanged. A device that a link joins with another device directly is a kind of its own.

The resources of a device lie side by side in the fabric, in the order of its sheet, and those of a link too; so a
resource of one device becomes that of another by adding.

Where a routing policy spreads flows over several paths every pair has its own, and each is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.collectives.group import Group
from controller.fabric.loads import Fabric
from controller.topology.schema import Topology

Numbers = NDArray[np.int64]


Recipe = tuple[list[tuple[str, int, int]], list[float], float, float]


@dataclass(frozen=True, slots=True)
class Loads:
    """What n activities load, in CSR form, and what they pay first.

    Attributes:
        start: loads of activity i are ``start[i]:start[i + 1]`` (n + 1).
        resource, weight: of each load (m).
        latency_s: of each activity (n) [s].
        rate_limit: of each activity (n) [bytes/s].
    """

    start: Numbers
    resource: NDArray[np.int32]
    weight: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    rate_limit: NDArray[np.float64]


class Places:
    """Where the resources and links of every rank lie.

    Attributes:
        first: first resource of each rank's device (n).
        kind: number of the kind of each rank (n); equal for devices that a route treats alike.
        sheet: number of the sheet of each rank (n).
        owner: rank that a resource belongs to; -1 for a link (resources).
        by_name: place of each rank's name in alphabetical order (n).
    """

    def __init__(self, topology: Topology, fabric: Fabric, group: Group) -> None:
        self.topology, self.fabric, self.group = topology, fabric, group
        rank_of = {name: rank for rank, name in enumerate(group.devices)}
        self.owner = np.array([rank_of.get(each.owner, -1) for each in fabric.resources], np.int64)
        self.first = np.full(group.world_size, -1, np.int64)
        owned = np.flatnonzero(self.owner >= 0)
        # Written from the last to the first, so that the first stays.
        self.first[self.owner[owned[::-1]]] = owned[::-1]
        self._link_resource = {
            each.part: index for index, each in enumerate(fabric.resources) if not each.owner and each.side == ">"
        }
        links: dict[str, list[tuple[str, str, str, float, bool, object]]] = {name: [] for name in group.devices}
        switches = frozenset(topology.switches)
        for link in topology.links:
            beside = tuple(hop.resource for hop in link.passes), link.per_flow and link.forward_bytes_per_s
            for near, far, forward in ((link.a, link.b, True), (link.b, link.a, False)):
                if near.vertex in links:
                    links[near.vertex].append((link.name, near.port, far.vertex, link.latency_s, forward, beside))
        sheets: dict[tuple[int, str], int] = {}
        kinds: dict[object, int] = {}
        self.sheet = np.empty(group.world_size, np.int64)
        self.kind = np.empty(group.world_size, np.int64)
        attached: list[list[int]] = []
        for rank, name in enumerate(group.devices):
            mine = sorted(links[name])
            sheet = (id(topology.devices[name].spec), group.tiers[rank])
            self.sheet[rank] = sheets.setdefault(sheet, len(sheets))
            alone = "" if all(far in switches for _, _, far, *_ in mine) else name
            kind = (sheet, alone, tuple(entry[1:] for entry in mine))
            self.kind[rank] = kinds.setdefault(kind, len(kinds))
            attached.append([self._link_resource[entry[0]] for entry in mine])
        widest = max(map(len, attached), default=0)
        self._attached = np.full((group.world_size, max(widest, 1)), -1, np.int64)
        for rank, row in enumerate(attached):
            self._attached[rank, : len(row)] = row
        names = np.array(group.devices)
        self.by_name = np.empty(group.world_size, np.int64)
        self.by_name[np.argsort(names, kind="stable")] = np.arange(group.world_size)
        self._kinds = len(kinds)

    def transfers(self, source: NDArray[np.int32], target: NDArray[np.int32]) -> Loads:
        """Loads of transfers between ranks.

        Args:
            source, target: ranks of each transfer (n).
        """
        if self.fabric.routes_flows:
            return self._each(source, target)
        # Which of two equal routes is taken goes by the name that comes first, so the direction is part of the kind.
        key = (self.kind[source] * self._kinds + self.kind[target]) * 3
        key += np.where(source == target, 2, self.by_name[source] < self.by_name[target])
        _, example, of_kind = np.unique(key, return_index=True, return_inverse=True)
        columns = [self.recipe(int(source[index]), int(target[index])) for index in example]
        counts = np.array([len(each) for each, _, _, _ in columns], np.int64)[of_kind]
        start = np.zeros(len(source) + 1, np.int64)
        np.cumsum(counts, out=start[1:])
        resource, weight = np.empty(start[-1], np.int32), np.empty(start[-1])
        latency_s, rate_limit = np.empty(len(source)), np.empty(len(source))
        order = np.argsort(of_kind, kind="stable")
        ends = np.cumsum(np.bincount(of_kind, minlength=len(columns)))
        begin = 0
        for (recipe, weights, latency, limit), end in zip(columns, ends.tolist(), strict=True):
            rows = order[begin:end]
            begin = end
            latency_s[rows], rate_limit[rows] = latency, limit
            for column, (side, place, offset) in enumerate(recipe):
                at = start[rows] + column
                weight[at] = weights[column]
                if side == "fixed":
                    resource[at] = offset
                else:
                    resource[at] = self.near((source if side == "source" else target)[rows], place) + offset
        return Loads(start, resource, weight, latency_s, rate_limit)

    def _each(self, source: NDArray[np.int32], target: NDArray[np.int32]) -> Loads:
        """The same where a policy gives every pair paths of its own; one search for each pair."""
        names, tiers = self.group.devices, self.group.tiers
        pairs, of_pair = np.unique(source.astype(np.int64) * len(names) + target, return_inverse=True)
        ends = [divmod(pair, len(names)) for pair in pairs.tolist()]
        shares = self.fabric.spread([(names[a], names[b], 0, 0) for a, b in ends])
        loads = [
            self.fabric.transfer_load(names[a], tiers[a], names[b], tiers[b], shares=parts)
            for (a, b), parts in zip(ends, shares, strict=True)
        ]
        # Paths that a flow could take and does not stand by with weight 0.
        taken = [np.flatnonzero(load.weights > 0.0) for load in loads]
        counts = np.array([len(each) for each in taken], np.int64)[of_pair]
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return Loads(
            start,
            np.concatenate([loads[pair].resources[taken[pair]] for pair in of_pair]),
            np.concatenate([loads[pair].weights[taken[pair]] for pair in of_pair]),
            np.array([load.latency_s for load in loads])[of_pair],
            np.array([load.rate_limit for load in loads])[of_pair],
        )

    def capacities(self) -> Numbers:
        """A number for each rank, equal where the links that it hangs on have equal capacities (n)."""
        capacity = np.append(self.fabric.capacity, 0.0)
        columns = [np.where(self._attached >= 0, self._attached + side, len(capacity) - 1) for side in (0, 1)]
        _, number = np.unique(capacity[np.concatenate(columns, axis=1)], axis=0, return_inverse=True)
        return number.astype(np.int64).ravel()

    def near(self, ranks: NDArray[np.int32], place: int) -> Numbers:
        """First resource of each rank's device, or of its link number `place`."""
        return self.first[ranks] if place < 0 else self._attached[ranks, place]

    def recipe(self, source: int, target: int) -> Recipe:
        """How the resources of one transfer are found for another of its kinds.

        Args:
            source, target: ranks.

        Returns:
            For each load (side, link or -1 for the device, offset), where the side is source, target or fixed; the
            weights; the latency [s]; the rate alone [bytes/s].
        """
        names, tiers = self.group.devices, self.group.tiers
        load = self.fabric.transfer_load(names[source], tiers[source], names[target], tiers[target])
        found: list[tuple[str, int, int]] = []
        for resource in load.resources.tolist():
            owner = int(self.owner[resource])
            if owner == source:
                found.append(("source", -1, resource - int(self.first[source])))
            elif owner == target:
                found.append(("target", -1, resource - int(self.first[target])))
            else:
                found.append(self._link_column(resource, source, target))
        return found, load.weights.tolist(), load.latency_s, load.rate_limit

    def _link_column(self, resource: int, source: int, target: int) -> tuple[str, int, int]:
        for side, rank in (("source", source), ("target", target)):
            for place, first in enumerate(self._attached[rank].tolist()):
                if first >= 0 and first <= resource <= first + 1:
                    return side, place, resource - first
        return "fixed", -1, resource
