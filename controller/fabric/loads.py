"""What a transfer or a kernel takes of the hardware, and by which path.

Simplification: every latency on the way is paid once, before the first byte, and bandwidth is shared only afterwards;
a stream of small packets that overlaps latency with sending is not told apart from one large one. Pages are not
rounded here: a transfer moves the bytes that it names, kernels round in their cost.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from controller.errors import BadPlan
from controller.fabric.drawn import drawn
from controller.fabric.in_network import Place, in_network
from controller.fabric.load_store import absorbed, far_side
from controller.fabric.parts import Load, Parts, load_of, take
from controller.fabric.routing.flow import Flow, Shares
from controller.fabric.routing.table import DEFAULT, policy_of, routing_name
from controller.topology.graph import routes_of
from controller.topology.meeting import meeting_of
from controller.topology.schema import Device, Route, Topology
from node.hardware.device import PortSpec

if TYPE_CHECKING:
    from node.hardware.cost import KernelCost


class Fabric(Parts):
    """The parts of a topology, and the routes of its transfers.

    Attributes:
        routing: name of the policy that gives transfers their paths.
        down: links that have failed and not come back.
    """

    def __init__(self, topology: Topology, may_fail: frozenset[str] = frozenset()) -> None:
        """Args are the cluster and the links that may fail in the run, whose transfers must be able to move."""
        super().__init__(topology)
        self.routing = routing_name(topology.options)
        self.down: frozenset[str] = frozenset()
        self._may_fail = may_fail
        self._policy = policy_of(topology.options)
        self._transfers: dict[tuple[str, str, str, str, bool, Shares | None], Load] = {}
        self._paths: dict[tuple[str, str], tuple[Route, ...]] = {}
        self._combined: dict[tuple[tuple[Place, ...], tuple[Place, ...], str], Load] = {}

    def transfer_load(
        self,
        source_device: str,
        source_tier: str,
        destination_device: str,
        destination_tier: str,
        pageable: bool = False,
        shares: Shares | None = None,
    ) -> Load:
        """What a transfer loads: tier, port, every link of the route, port, tier; within a device only the tiers.

        Where `shares` are given, every path of them takes its part of ports and links, and the other equal paths
        stand by with weight 0.

        Args:
            source_device, source_tier: where the bytes are read.
            destination_device, destination_tier: where they are written.
            pageable: through pageable host memory, which the sheet of a port on the way must have a rate for.
            shares: from `spread`; None for the one route.

        Raises:
            UnknownDevice: no such device or tier.
            NoRoute: nothing joins the two devices.
            BadPlan: `pageable`, and neither port declares a rate.
        """
        key = (source_device, source_tier, destination_device, destination_tier, pageable, shares)
        if key not in self._transfers:
            self._transfers[key] = self._transfer_load(*key)
        return self._transfers[key]

    def absorbed_load(self, load: Load, source: str, owner: str, tier: str, nbytes: int) -> Load:
        """`load` of a transfer of `nbytes` to a card whose host takes a part of it into its last-level cache.

        Raises:
            BadPlan: no CPU of the chassis of `owner` says how large that cache is.
        """
        return absorbed(self, load, source, owner, tier, nbytes)

    def combined_load(self, sources: tuple[Place, ...], destinations: tuple[Place, ...], dtype: str) -> Load:
        """What a transfer loads that the network adds up or multiplies: every uplink and every downlink once.

        Args:
            sources, destinations: (device, tier) of each.
            dtype: element type of a reduction.

        Raises:
            UnknownDevice, NoRoute: as `transfer_load`.
            BadPlan: no switch between them can do it.
        """
        key = (sources, destinations, dtype)
        if key not in self._combined:
            taken, rate_limit, latency_s = in_network(self, sources, destinations, dtype)
            self._combined[key] = load_of(taken, rate_limit, latency_s)
        return self._combined[key]

    def multiplies(self, source: Place, destinations: tuple[Place, ...]) -> bool:
        """Whether a switch sends what comes from `source` to all of `destinations` at once."""
        if len(destinations) < 2 or not self.topology.abilities:
            return False
        order = [source[0], *(device for device, _ in destinations if device != source[0])]
        return len(order) > 1 and not isinstance(meeting_of(self.topology, order, receivers=len(destinations)), str)

    def spread(
        self, wanted: Sequence[tuple[str, str, Hashable, int]], *, stranded: bool = False
    ) -> list[Shares | None]:
        """The paths of every transfer of a plan, from the policy of the topology.

        Args:
            wanted: (source, destination, size, step) of each; see `Flow`.
            stranded: give paths to those too that find none that works: they wait there until one comes back.

        Returns:
            Shares over `Routes.paths`; None where there is no choice, or where none of the paths works.
        """
        found: list[Shares | None] = [None] * len(wanted)
        if not self.routes_flows:
            return found
        flows: list[Flow] = []
        chosen: list[int] = []
        for index, (source, destination, size, step) in enumerate(wanted):
            paths, up = self._choices(source, destination)
            if stranded and not up:
                up = tuple(range(len(paths)))
            if len(paths) > 1 and up:
                flows.append(Flow(source, destination, paths, up, size, step))
                chosen.append(index)
        for index, shares in zip(chosen, self._policy.assign(flows), strict=True):
            found[index] = shares
        return found

    @property
    def routes_flows(self) -> bool:
        """Whether anything but the one route of each transfer can be taken."""
        return self.routing != DEFAULT or bool(self._may_fail)

    def _choices(self, source: str, destination: str) -> tuple[tuple[Route, ...], tuple[int, ...]]:
        """Equal paths, the route of the first names first where routing makes no choice, and which of them work."""
        key = (source, destination)
        if key not in self._paths:
            routes = routes_of(self.topology)
            paths = routes.paths(source, destination)
            if self.routing == DEFAULT:
                best = routes.route(source, destination)
                paths = (best, *(path for path in paths if path.hops != best.hops))
                if not any(_links_of(path) & self._may_fail for path in paths):
                    paths = paths[:1]
            self._paths[key] = paths
        paths = self._paths[key]
        if not self.down:
            return paths, tuple(range(len(paths)))
        works = [not _links_of(path) & self.down for path in paths]
        return paths, tuple(number for number, fine in enumerate(works) if fine)

    def kernel_load(self, device: str, cost: KernelCost) -> Load:
        """What a kernel loads: its tiers, in proportion to the bytes that it reads and writes there.

        A tier called ``owner.tier`` is one of another device (`controller.topology.load_store`), with the way there.

        Its rate alone is bytes / time alone, so a kernel bound by arithmetic leaves the rest of the bandwidth to
        others. The compute unit is held by the queue.

        Raises:
            UnknownDevice: no such device, or a tier that it lacks.
        """
        moved = [(tier, size, 0) for tier, size in cost.read_bytes.items() if size]
        moved += [(tier, size, 1) for tier, size in cost.write_bytes.items() if size]
        work = float(sum(size for _, size, _ in moved))
        if not work:
            self.device(device)
            return Load(np.empty(0, np.int32), np.empty(0), 1.0, cost.latency_s, cost.time_s)
        taken: dict[int, float] = {}
        for tier, size, side in moved:
            far = "." in tier
            take(taken, far_side(self, device, tier, side) if far else self.tier(device, tier)[side], size / work)
        rate_limit = work / cost.time_s if cost.time_s > 0 else math.inf
        return load_of(taken, rate_limit, cost.latency_s, work)

    def _transfer_load(
        self, source: str, source_tier: str, destination: str, into: str, pageable: bool, shares: Shares | None
    ) -> Load:
        taken: dict[int, float] = {}
        take(taken, self.tier(source, source_tier)[0], 1.0)
        tiers, devices = (source_tier, into), (self.device(source), self.device(destination))
        latencies = [devices[0].spec.tiers[tiers[0]].read_latency_s]
        self.tier(destination, into)
        ports: list[tuple[Device, PortSpec]] = []
        slowest: list[float] = []
        limit = math.inf
        for route, share in self._parts(source, destination, shares):
            hops = route.hops
            if not hops:
                continue
            ends = (hops[0].tail, hops[-1].head)
            passed = [(device, device.spec.ports[end.port]) for device, end in zip(devices, ends, strict=True)]
            take(taken, self.port(source, ends[0].port, 0), share)
            capacities, alone = drawn(hops)
            for hop in capacities:
                take(taken, self.hop_side(hop), share)
            take(taken, self.port(destination, ends[1].port, 1), share)
            if share > 0:
                limit = min(limit, alone / share)
                ports += passed
                paid = [*(hop.link.latency_s for hop in hops), *(port.latency_s for _, port in passed)]
                slowest = max(slowest, paid, key=math.fsum)
        take(taken, self.tier(destination, into)[1], 1.0)
        latencies += [*slowest, devices[1].spec.tiers[tiers[1]].write_latency_s]
        if pageable:
            limit = min(limit, _pageable_rate(source, destination, ports))
        return load_of(taken, limit, math.fsum(latencies))

    def _parts(self, source: str, destination: str, shares: Shares | None) -> list[tuple[Route, float]]:
        """Every path with its part of the flow; 0 of those that stand by."""
        if shares is None:
            return [(routes_of(self.topology).route(source, destination), 1.0)]
        paths, part_of = self._choices(source, destination)[0], dict(shares)
        if not any(_links_of(path) & self._may_fail for path in paths):
            return [(paths[number], float(part)) for number, part in shares]
        return [(path, float(part_of.get(number, 0))) for number, path in enumerate(paths)]


def _links_of(path: Route) -> frozenset[str]:
    """Names of the links of a path, and of those that they pass."""
    return frozenset(each.link.name for hop in path.hops for each in hop.drawn)


def _pageable_rate(source: str, destination: str, ports: list[tuple[Device, PortSpec]]) -> float:
    rates = [port.pageable_bytes_per_s for _, port in ports if port.pageable_bytes_per_s is not None]
    if not rates:
        tried = " and ".join(f"{device.name}.{port.name} ({device.spec.product})" for device, port in ports)
        raise BadPlan(
            f"a pageable copy from {source} to {destination} needs a measured rate: "
            f"{f'neither of {tried} declares one' if tried else 'it passes no port'}; "
            f"add pageable: to the port in the product sheet, or plan the transfer without path='pageable'"
        )
    return min(rates)
