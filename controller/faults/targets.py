"""Finds what the target of a fault is in a topology, and what hangs on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from controller.errors import BadTopology
from controller.topology.fault import Component
from controller.topology.nearest import hint
from controller.topology.schema import Link, Topology

KIND_NAMES = ("device", "process", "tier", "port", "link", "nic", "switch", "host", "rack")
_ORDER = ("device", "link", "host", "switch", "tier", "port", "nic")
"""Kinds that a name without a kind may mean; two of them are an error."""


@dataclass(frozen=True, slots=True)
class Struck:
    """What goes with a component.

    Attributes:
        devices: names of those that compute no more, or more slowly.
        tiers: (device, tier) of memories.
        ports: (device, port) of attachments.
        links: names.
    """

    devices: tuple[str, ...] = ()
    tiers: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()


def component(topology: Topology, text: str, where: str = "") -> Component:
    """The component that a text names: ``gpu0``, ``gpu0.hbm``, ``up0-1``, ``host0``, or ``KIND:NAME``.

    Args:
        topology: that has it.
        text: as the user wrote it.
        where: begins the error.

    Raises:
        BadTopology: nothing of that name, or several things.
    """
    kind, colon, name = (part.strip() for part in text.partition(":"))
    if colon and kind in KIND_NAMES:
        known = _names(topology)[kind]
        if name not in known:
            raise BadTopology(f"{where}no {kind} {name!r}{hint(name, known, f'names of kind {kind}')}")
        return Component(kind, name)
    if colon and kind and "." not in kind:
        raise BadTopology(f"{where}no kind of component {kind!r}{hint(kind, KIND_NAMES, 'kinds')}")
    names = _names(topology)
    found = [each for each in _ORDER if text in names[each]]
    if "nic" in found and len(found) > 1:  # a NIC is a switch or a port too, and means the same
        found.remove("nic")
    if len(found) > 1:
        either = " or ".join(f"{each}:{text}" for each in found)
        raise BadTopology(f"{where}{text!r} names a {' and a '.join(found)}; write {either}")
    if not found:
        every = [name for each in _ORDER for name in names[each]]
        raise BadTopology(f"{where}nothing is called {text!r}{hint(text, every, 'components')}")
    return Component(found[0], text)


def exists(topology: Topology, target: Component) -> bool:
    """Whether a topology has a component."""
    return target.name in _names(topology)[target.kind]


def struck(topology: Topology, target: Component) -> Struck:
    """What goes with a component: of a host its devices and every link that touches it, of a switch its links."""
    return _FINDERS[target.kind](topology, target.name)


def _device(topology: Topology, name: str) -> Struck:
    spec = topology.devices[name].spec
    return Struck(
        (name,),
        tuple((name, tier) for tier in spec.tiers),
        tuple((name, port) for port in spec.ports),
        _touching(topology, frozenset([name])),
    )


def _host(topology: Topology, name: str) -> Struck:
    return _hosts(topology, (name,), ())


def _rack(topology: Topology, name: str) -> Struck:
    return _hosts(topology, racks_of(topology)[name], (name,))


def _hosts(topology: Topology, hosts: tuple[str, ...], switches: tuple[str, ...]) -> Struck:
    devices = [device for device in topology.devices.values() if device.host in hosts]
    vertices = {device.name for device in devices} | set(switches)
    vertices |= {switch for switch, host in topology.switch_hosts.items() if host and host in hosts}
    return Struck(
        tuple(device.name for device in devices),
        tuple((device.name, tier) for device in devices for tier in device.spec.tiers),
        tuple((device.name, port) for device in devices for port in device.spec.ports),
        _touching(topology, frozenset(vertices)),
    )


def _tier(topology: Topology, name: str) -> Struck:
    device, _, tier = name.rpartition(".")
    return Struck(tiers=((device, tier),))


def _port(topology: Topology, name: str) -> Struck:
    device, _, port = name.rpartition(".")
    links = tuple(link.name for link in topology.links if name in (str(link.a), str(link.b)))
    return Struck(ports=((device, port),), links=links)


def _nic(topology: Topology, name: str) -> Struck:
    return _switch(topology, name) if name in topology.switches else _port(topology, name)


def _switch(topology: Topology, name: str) -> Struck:
    return Struck(links=_touching(topology, frozenset([name])))


def _link(topology: Topology, name: str) -> Struck:
    return Struck(links=(name,))


_FINDERS: Mapping[str, Callable[[Topology, str], Struck]] = {
    "device": _device,
    "process": _device,
    "host": _host,
    "rack": _rack,
    "tier": _tier,
    "port": _port,
    "nic": _nic,
    "switch": _switch,
    "link": _link,
}


def _touching(topology: Topology, vertices: frozenset[str]) -> tuple[str, ...]:
    return tuple(link.name for link in topology.links if link.a.vertex in vertices or link.b.vertex in vertices)


def host_of(topology: Topology, vertex: str) -> str:
    """The host of a device or switch; "" of a switch between hosts."""
    device = topology.devices.get(vertex)
    return device.host if device is not None else topology.switch_hosts.get(vertex, "")


def racks_of(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Racks by the switch that names them: the hosts whose every link to the outside ends at that switch."""
    leaves: dict[str, dict[str, None]] = {}
    for link in topology.links:
        for near, far in ((link.a.vertex, link.b.vertex), (link.b.vertex, link.a.vertex)):
            host = host_of(topology, near)
            if host and host_of(topology, far) != host:
                leaves.setdefault(host, {})[far] = None
    racks: dict[str, tuple[str, ...]] = {}
    for host, found in leaves.items():
        leaf = next(iter(found))
        if len(found) == 1 and not host_of(topology, leaf):
            racks[leaf] = (*racks.get(leaf, ()), host)
    return racks


def _nics(topology: Topology, switches: tuple[str, ...]) -> list[str]:
    """Switches and ports called after a NIC: what a host reaches the network through."""
    ports = [f"{device.name}.{port}" for device in topology.devices.values() for port in device.spec.ports]
    return [name for name in (*switches, *ports) if name.rpartition(".")[2].lower().startswith(("nic", "hca", "ib"))]


def _names(topology: Topology) -> Mapping[str, frozenset[str]]:
    return _names_of(_ByIdentity(topology))


@dataclass(frozen=True, eq=False)
class _ByIdentity:
    """A topology as a key of a cache; it lives as long as its entry."""

    topology: Topology

    def __hash__(self) -> int:
        return id(self.topology)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.topology is self.topology


@lru_cache(maxsize=8)
def _names_of(key: _ByIdentity) -> Mapping[str, frozenset[str]]:
    topology = key.topology
    devices = topology.devices.values()
    return {
        "device": frozenset(topology.devices),
        "process": frozenset(topology.devices),
        "tier": frozenset(f"{device.name}.{tier}" for device in devices for tier in device.spec.tiers),
        "port": frozenset(f"{device.name}.{port}" for device in devices for port in device.spec.ports),
        "link": frozenset(link.name for link in topology.links),
        "nic": frozenset(_nics(topology, topology.switches)),
        "switch": frozenset(topology.switches),
        "host": frozenset(device.host for device in devices),
        "rack": frozenset(racks_of(topology)),
    }


def links_out(topology: Topology, links: tuple[str, ...], devices: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `links` that leave the hosts of `devices`: what the network of a host is."""
    hosts = {topology.devices[name].host for name in devices}
    by_name: dict[str, Link] = {link.name: link for link in topology.links}

    def leaves(link: Link) -> bool:
        return (host_of(topology, link.a.vertex) in hosts) != (host_of(topology, link.b.vertex) in hosts)

    return tuple(name for name in links if leaves(by_name[name]))
