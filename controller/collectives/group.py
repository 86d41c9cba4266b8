"""Who takes part in a collective, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.collectives.errors import BadGroup
from controller.topology.nearest import hint
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class Group:
    """An ordered set of devices; the index of one is its rank.

    Attributes:
        devices: names, by rank.
        tiers: the tier of each device that holds its buffers.
        hosts: the chassis of each device; empty when all share one.
    """

    devices: tuple[str, ...]
    tiers: tuple[str, ...]
    hosts: tuple[str, ...] = ()

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


def group_of(topology: Topology, devices: Sequence[str]) -> Group:
    """A group of named devices; buffers lie in the first tier of each.

    Raises:
        BadGroup: no device, one named twice, one that the topology lacks, or one that cannot reduce.
    """
    if not devices:
        raise BadGroup("a group needs at least one device; name some")
    for index, name in enumerate(devices):
        if name not in topology.devices:
            raise BadGroup(f"{topology.name} has no device {name!r}{hint(name, topology.devices, 'devices')}")
        if name in devices[:index]:
            raise BadGroup(
                f"device {name} is rank {devices.index(name)} and rank {index} of one group; name each device once"
            )
        if topology.devices[name].spec.compute_queue is None:
            product = topology.devices[name].spec.product
            raise BadGroup(f"{name} ({product}) has no compute queue, so it can reduce nothing; leave it out")
    members = [topology.devices[name] for name in devices]
    tiers = tuple(next(iter(member.spec.tiers)) for member in members)
    return Group(tuple(devices), tiers, tuple(member.host for member in members))


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
    devices = {name: device for name, device in topology.devices.items() if name in group.devices}
    links = tuple(
        link
        for link in topology.links
        if all(end.vertex in devices or end.vertex in topology.switches for end in (link.a, link.b))
    )
    return replace(topology, devices=devices, links=links)
