"""What is shown of a topology: one host of it, one of those that are alike, the routes that say most."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from controller.errors import NoRoute, UserError, check_limit
from controller.topology.graph import route
from controller.topology.matrix import ACCELERATORS, Matrix, UnknownHost, hosts_of, matrix_of
from controller.topology.nearest import hint
from controller.topology.schema import Device, Link, Route, Topology

MATRICES_SHOWN = 2
"""Of how many hosts a matrix is shown when none is named."""
ROUTES_SHOWN = 32
"""Most devices between which every route is listed; beyond it the first device of each group stands for the group."""
MATRIX_ACCELERATORS = 256
"""Most accelerators of a host whose matrix is shown."""


def assumed_constants(topology: Topology) -> tuple[tuple[str, str, str, str], ...]:
    """(of, constant, value as text, source) of every number that is assumed; equal replicas are listed once."""
    found = [
        (alike_text(topology, device), each.path, each.text, each.source)
        for device in one_of_each(topology)
        for each in device.spec.constants.values()
        if each.kind == "assumed"
    ]
    alike: dict[int, list[Link]] = {}
    for link in topology.links:
        alike.setdefault(id(link.constants), []).append(link)
    for links in alike.values():
        names = ", ".join(link.name for link in links)
        if len(links) > 4:
            names = f"{links[0].name} to {links[-1].name} ({len(links)} links)"
        found += [
            (f"link {names}", each.path, each.text, each.source)
            for each in links[0].constants.values()
            if each.kind == "assumed"
        ]
    return tuple(found)


def matrices_of(topology: Topology, host: str) -> list[Matrix]:
    """The matrices of the first hosts, or that of `host` alone; a host with too many accelerators has none.

    Raises:
        UserError: `host` has too many accelerators for a matrix.
    """
    sizes = Counter(device.host for device in topology.devices.values() if device.spec.kind in ACCELERATORS)
    if host and sizes[host]:
        check_limit(
            UserError, f"the number of accelerators of {host}", sizes[host], MATRIX_ACCELERATORS,
            f"its matrix has {sizes[host] ** 2:,} cells", "remove --host",
        )  # fmt: skip
    hosts = [each for each in hosts_of(topology) if host in ("", each)][:MATRICES_SHOWN]
    return [matrix_of(topology, each) for each in hosts if sizes[each] <= MATRIX_ACCELERATORS]


def part_of(topology: Topology, host: str) -> Topology:
    """The devices and switches of `host` and every link that ends at one of them; all of it for ""."""
    if not host:
        return topology
    devices = {name: device for name, device in topology.devices.items() if device.host == host}
    switches = tuple(name for name in topology.switches if topology.switch_hosts.get(name) == host)
    if not devices and not switches:
        named = (*(device.host for device in topology.devices.values()), *topology.switch_hosts.values())
        hosts = tuple(dict.fromkeys(each for each in named if each))
        raise UnknownHost(f"no host {host!r}{hint(host, hosts, 'hosts')}")
    mine = {*devices, *switches}

    def here(links: tuple[Link, ...]) -> tuple[Link, ...]:
        return tuple(link for link in links if link.a.vertex in mine or link.b.vertex in mine)

    return replace(
        topology,
        devices=devices,
        switches=switches,
        links=here(topology.links),
        failed_links=here(topology.failed_links),
        abilities={name: each for name, each in topology.abilities.items() if name in mine},
    )


def span_text(names: list[str], what: str) -> str:
    """All of a few names; of many the first, the last and how many."""
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]} ({len(names)} {what})"


def one_of_each(topology: Topology) -> list[Device]:
    """The first device of every group and every member that an override sets apart from it."""
    first: dict[tuple[str, int], Device] = {}
    for device in topology.devices.values():
        first.setdefault((device.group, id(device.spec)), device)
    return list(first.values())


def alike_text(topology: Topology, device: Device) -> str:
    """Names `device` and the others of its group that are like it."""
    alike = [other.name for other in topology.group(device.group) if other.spec is device.spec]
    return span_text(alike, "devices")


def endpoints_of(topology: Topology) -> tuple[str, list[str]]:
    """Whose routes are listed, in words and as names."""
    if len(topology.devices) <= ROUTES_SHOWN:
        return "all devices", list(topology.devices)
    return "the first devices of the groups", [each.name for each in topology.devices.values() if each.index == 0]


def routes_between(topology: Topology, shown: Topology) -> list[tuple[str, str, Route]]:
    """One direction of every pair of `shown` that is joined, by all links; a pair that is not has no row."""
    _, names = endpoints_of(shown)
    found = []
    for index, a in enumerate(names):
        for b in names[index + 1 :]:
            try:
                found.append((a, b, route(topology, a, b)))
            except NoRoute:
                continue
    return found
