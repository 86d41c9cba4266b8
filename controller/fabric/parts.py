"""Tiers, ports, links and queues of a topology as indices into the arrays of the engine.

A duplex tier, port or link is one resource for each direction, of its bandwidth, and a flow weighs 1. A declared total
is one more resource that both directions load, as those of a shared link load one. What is simplex is one resource of
capacity 1 that reads load with 1/read and writes with 1/write, so that the shares of time add up to at most 1.

The messages of one connection (source, destination, channel) arrive in the order in which they were sent, whatever path
each takes: a connection is an in-order queue too, behind those of the devices, and is numbered when it is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnknownDevice
from controller.topology.nearest import hint
from controller.topology.schema import Device, Hop, Topology
from node.hardware.device import PortSpec, TierSpec

Side = tuple[tuple[int, float], ...]
"""(resource, weight) of one direction of a tier or port."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the engine.

    Attributes:
        name: ``csd0.flash.read``, ``gpu.pcie.write``, ``cpu.dram.simplex``, ``csd0.pcie-root>``.
        owner: the device it belongs to, "" for a link.
        part: tier, port or link.
        side: ``read``, ``write``, ``total``, ``simplex``, ``>`` (forward) or ``<`` (backward).
        capacity: [bytes/s]; 1 when simplex.
    """

    name: str
    owner: str
    part: str
    side: str
    capacity: float

    @property
    def track(self) -> str:
        """Its name without its owner, as the timeline of that device calls it."""
        return self.name.removeprefix(f"{self.owner}.") if self.owner else self.name


@dataclass(frozen=True, slots=True)
class Load:
    """What one activity takes while it flows.

    Attributes:
        resources: indices into `Parts.capacity` (m), each at most once.
        weights: how much of each resource one unit of rate takes (m).
        rate_limit: its speed alone [bytes/s]; inf where only the resources limit it.
        latency_s: paid once, before it flows [s].
        work: of a kernel its bytes [bytes], or its time [s] at rate 1 when it moves none; 0 of a transfer, whose
            bytes only the op knows.
    """

    resources: NDArray[np.int32]
    weights: NDArray[np.float64]
    rate_limit: float
    latency_s: float
    work: float = 0.0


class Parts:
    """The hardware of a topology as arrays for the engine.

    Attributes:
        topology: what it was built from.
        resources: one entry per resource, in the order of the arrays.
        capacity: of each resource, in units of rate x weight (n).
        resource_names: of each resource.
        slots: of each queue (q).
        queue_names: of each queue, ``gpu.stream``.
        connections: (source device, destination device, channel) to the index of its queue, in the order of use.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._resources: list[Resource] = []
        self._tiers: dict[tuple[str, str], tuple[Side, Side]] = {}
        self._ports: dict[tuple[str, str], tuple[Side, Side]] = {}
        self._links: dict[str, tuple[int, int]] = {}
        self._queues: dict[tuple[str, str], int] = {}
        slots: list[int] = []
        for device in topology.devices.values():
            for tier in device.spec.tiers.values():
                self._tiers[device.name, tier.name] = self._sides(device, tier)
            for port in device.spec.ports.values():
                self._ports[device.name, port.name] = self._sides(device, port)
            for queue in device.spec.queues.values():
                self._queues[device.name, queue.name] = len(slots)
                slots.append(queue.slots)
        for link in topology.links:
            forward = self._add(Resource(f"{link.name}>", "", link.name, ">", link.forward_bytes_per_s))
            backward = self._add(Resource(f"{link.name}<", "", link.name, "<", link.backward_bytes_per_s))
            # Every link has two resources, one behind the other; both directions of a shared one load the first.
            self._links[link.name] = forward, forward if link.shared else backward
        self.resources = tuple(self._resources)
        self.resource_names = tuple(resource.name for resource in self.resources)
        self.capacity = np.array([resource.capacity for resource in self.resources], dtype=np.float64)
        self.queue_names = tuple(f"{device}.{queue}" for device, queue in self._queues)
        self.slots = np.array(slots, dtype=np.int32)
        self.connections: dict[tuple[str, str, str], int] = {}

    def sides(self, device: str, tier: str, port: str, direction: int) -> tuple[Side, Side]:
        """Tier and port of one end of a transfer; direction 0 is out of the device, 1 into it."""
        return self.tier(device, tier)[direction], self._ports[device, port][direction]

    def port(self, device: str, port: str, direction: int) -> Side:
        """One direction of a port, 0 out of the device and 1 into it."""
        return self._ports[device, port][direction]

    def memory(self, device: str, tier: str, direction: int) -> Side:
        """One direction of a tier, 0 for reads and 1 for writes."""
        return self.tier(device, tier)[direction]

    def link_resources(self, link: str) -> tuple[int, int]:
        """Indices of a link's two directions, forward and backward.

        Raises:
            UnknownDevice: no such link.
        """
        if link not in self._links:
            raise UnknownDevice(f"no link {link!r}{hint(link, self._links, 'links')}")
        return self._links[link]

    def hop_side(self, hop: Hop) -> Side:
        """The capacity of a link in the direction of a hop."""
        return ((self.link_resources(hop.link.name)[0 if hop.forward else 1], 1.0),)

    def queue_index(self, device: str, queue: str = "") -> int:
        """Index of an in-order queue; "" is the device's first compute queue.

        Raises:
            UnknownDevice: no such device or queue.
        """
        spec = self.device(device).spec
        if not queue:
            if spec.compute_queue is None:
                raise UnknownDevice(f"{device} ({spec.product}) has no compute queue: it runs no kernels")
            queue = spec.compute_queue.name
        if (device, queue) not in self._queues:
            raise UnknownDevice(f"{device} ({spec.product}) has no queue {queue!r}{hint(queue, spec.queues, 'queues')}")
        return self._queues[device, queue]

    def connection_index(self, source: str, destination: str, channel: str) -> int:
        """Index of the in-order queue of a connection between two devices."""
        return self.connections.setdefault(
            (source, destination, channel), len(self.queue_names) + len(self.connections)
        )

    def is_declared(self, queue: int) -> bool:
        """Whether a queue is one of a device, and not a connection or none."""
        return 0 <= queue < len(self.queue_names)

    def queue_name(self, queue: int) -> str:
        """What messages call a queue."""
        if self.is_declared(queue):
            return self.queue_names[queue]
        source, destination, channel = list(self.connections)[queue - len(self.queue_names)]
        return f"connection {channel} of {source} -> {destination}"

    def busy_s(
        self, resources: NDArray[np.int32], weights: NDArray[np.float64], work: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """For how long each resource would be busy at full speed with what was done [s] (n).

        Args:
            resources: resource of each load (m).
            weights: weight of each load (m).
            work: work of the activity behind each load (m).
        """
        taken = np.bincount(resources, weights=weights * work, minlength=len(self.capacity))
        return np.asarray(taken / self.capacity, dtype=np.float64)

    def device(self, name: str) -> Device:
        """The declared device.

        Raises:
            UnknownDevice: there is none of that name.
        """
        if name not in self.topology.devices:
            raise UnknownDevice(f"no device {name!r}{hint(name, self.topology.devices, 'devices')}")
        return self.topology.devices[name]

    def tier(self, device: str, tier: str) -> tuple[Side, Side]:
        """Read and write side of a tier.

        Raises:
            UnknownDevice: no such device or tier.
        """
        if (device, tier) not in self._tiers:
            spec = self.device(device).spec
            raise UnknownDevice(f"{device} ({spec.product}) has no tier {tier!r}{hint(tier, spec.tiers, 'tiers')}")
        return self._tiers[device, tier]

    def _add(self, resource: Resource) -> int:
        self._resources.append(resource)
        return len(self._resources) - 1

    def _sides(self, device: Device, part: TierSpec | PortSpec) -> tuple[Side, Side]:
        def add(side: str, capacity: float) -> int:
            return self._add(Resource(f"{device.name}.{part.name}.{side}", device.name, part.name, side, capacity))

        if part.simplex:
            turns = add("simplex", 1.0)
            read: Side = ((turns, 1.0 / part.read_bytes_per_s),)
            write: Side = ((turns, 1.0 / part.write_bytes_per_s),)
        else:
            read = ((add("read", part.read_bytes_per_s), 1.0),)
            write = ((add("write", part.write_bytes_per_s), 1.0),)
        if part.total_bytes_per_s is not None:
            total = ((add("total", part.total_bytes_per_s), 1.0),)
            read, write = read + total, write + total
        return read, write


def take(taken: dict[int, float], side: Side, share: float = 1.0) -> None:
    """Adds `share` of a side; one resource may be taken twice (a copy within a simplex tier reads and writes)."""
    for resource, weight in side:
        taken[resource] = taken.get(resource, 0.0) + weight * share


def load_of(taken: Mapping[int, float], rate_limit: float, latency_s: float, work: float = 0.0) -> Load:
    """The load that takes `taken` (weight by resource) for each unit of rate."""
    resources = np.fromiter(taken, np.int32, len(taken))
    weights = np.fromiter(taken.values(), np.float64, len(taken))
    resources.flags.writeable = weights.flags.writeable = False
    return Load(resources, weights, rate_limit, latency_s, work)
