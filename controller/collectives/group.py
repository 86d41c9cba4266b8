"""Who takes part in a collective, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.collectives.errors import BadCall, BadGroup
from controller.errors import NoRoute
from controller.faults.targets import exists
from controller.topology.graph import route
from controller.topology.meeting import meeting_of
from controller.topology.nearest import hint
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class InSwitch:
    """What the switch between all ranks does with their data.

    Attributes:
        types: element types that it adds up.
        multicast: whether it sends what one rank stores to all.
    """

    types: tuple[str, ...]
    multicast: bool


@dataclass(frozen=True, slots=True)
class Group:
    """An ordered set of devices; the index of one is its rank.

    Attributes:
        devices: names, by rank.
        tiers: the tier of each device that holds its buffers.
        hosts: the chassis of each device; empty when all share one.
        in_switch: what the switch between them does; None where none adds up or multiplies.
        in_hosts: what the switches inside of all hosts of more than one device do alike.
    """

    devices: tuple[str, ...]
    tiers: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    in_switch: InSwitch | None = None
    in_hosts: InSwitch | None = None

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self.devices)

    def by_host(self) -> tuple[tuple[int, ...], ...]:
        """The ranks of each host, hosts in the order of their first rank."""
        found: dict[str, list[int]] = {}
        for rank in range(self.world_size):
            found.setdefault(self.hosts[rank] if self.hosts else "", []).append(rank)
        return tuple(map(tuple, found.values()))

    def equal_hosts(self, algorithm: str, instead: str = "ring") -> tuple[tuple[int, ...], ...]:
        """The ranks of each host, where every host has as many as the others.

        Raises:
            BadCall: they have different numbers; names the algorithm that cannot run so.
        """
        hosts = self.by_host()
        if any(len(ranks) != len(hosts[0]) for ranks in hosts):
            counts = ", ".join(map(str, sorted({len(ranks) for ranks in hosts})))
            raise BadCall(
                f"{algorithm} needs as many ranks in every host, and hosts here have {counts}; use {instead} instead"
            )
        return hosts


def group_of(topology: Topology, devices: Sequence[str]) -> Group:
    """A group of named devices; buffers lie in the first tier of each.

    Raises:
        BadGroup: no device, one named twice, one that the topology lacks, or one that cannot reduce.
    """
    if not devices:
        raise BadGroup("a group needs at least one device; name some")
    ranks: dict[str, int] = {}
    for index, name in enumerate(devices):
        if name not in topology.devices:
            raise BadGroup(f"{topology.name} has no device {name!r}{hint(name, topology.devices, 'devices')}")
        if ranks.setdefault(name, index) != index:
            raise BadGroup(f"device {name} is rank {ranks[name]} and rank {index} of one group; name each device once")
        if topology.devices[name].spec.compute_queue is None:
            product = topology.devices[name].spec.product
            raise BadGroup(
                f"{name} ({product}) has no compute queue, so it can reduce nothing; remove it from the group"
            )
    members = [topology.devices[name] for name in devices]
    tiers = tuple(next(iter(member.spec.tiers)) for member in members)
    hosts = tuple(member.host for member in members)
    found = Group(tuple(devices), tiers, hosts)
    inside = [[devices[rank] for rank in ranks] for ranks in found.by_host() if len(ranks) > 1]
    alike = dict.fromkeys(_in_switch(topology, names) for names in inside)
    in_hosts = next(iter(alike)) if len(alike) == 1 else None
    in_switch = in_hosts if len(inside) == 1 and len(inside[0]) == len(devices) else _in_switch(topology, devices)
    return replace(found, in_switch=in_switch, in_hosts=in_hosts)


def _in_switch(topology: Topology, devices: Sequence[str]) -> InSwitch | None:
    """What the switch that joins all of `devices` can do, of all of them at once."""
    if len(devices) < 2 or not topology.abilities:
        return None
    count = len(devices)
    # Whoever is farthest usually settles it: a large group has no switch between all, and each route is a search.
    try:
        way = route(topology, devices[0], devices[-1]).hops
    except NoRoute:
        return None
    if not any(hop.head.vertex in topology.abilities for hop in way):
        return None
    try:
        known = dict.fromkeys(name for able in topology.abilities.values() for name in able.types)
        types = tuple(name for name in known if not isinstance(meeting_of(topology, devices, name, count, 1), str))
        multicast = not isinstance(meeting_of(topology, devices, "", 1, count), str)
    except NoRoute:
        return None
    return InSwitch(types, multicast) if types or multicast else None


def first_ranks(topology: Topology, ranks: int | None) -> Group:
    """The first devices of the kind that a topology computes with: its GPUs, else its NPUs, else its CPUs.

    Args:
        topology: the cluster.
        ranks: how many; None for all of them.

    Raises:
        BadGroup: fewer than 1, or more than there are.
    """
    kind, found = next(
        ((kind, devices) for kind in ("gpu", "npu", "cpu") if (devices := topology.of_kind(kind))), ("gpu", ())
    )
    if not found:
        raise BadGroup(f"{topology.name} has no GPU, NPU or CPU that could be a rank")
    if ranks is not None and ranks < 1:
        raise BadGroup(f"{ranks} ranks; at least 1 is needed")
    if ranks is not None and ranks > len(found):
        raise BadGroup(
            f"{ranks} ranks, and {topology.name} has {len(found)} devices of kind {kind}: "
            f"{', '.join(device.name for device in found)}; ask for fewer, or --set {found[0].group}.count={ranks}"
        )
    return group_of(topology, [device.name for device in found[:ranks]])


def only(topology: Topology, group: Group) -> Topology:
    """`topology` without the devices outside of `group`: no route passes through a device, so no time changes."""
    members = frozenset(group.devices)
    devices = {name: device for name, device in topology.devices.items() if name in members}
    vertices = members.union(topology.switches)
    links = tuple(link for link in topology.links if link.a.vertex in vertices and link.b.vertex in vertices)
    kept = replace(topology, devices=devices, links=links)
    faults = tuple(fault for fault in topology.faults if exists(kept, fault.target))
    return replace(kept, faults=faults)
