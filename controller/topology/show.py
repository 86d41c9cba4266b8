"""A topology for people and scripts: `topology_document` for JSON, `topology_tables` for the report package to print.

The document holds numbers in base units under keys that say so; the tables hold text with units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.errors import NoRoute, UserError, check_limit
from controller.topology.graph import route
from controller.topology.matrix import ACCELERATORS, Matrix, UnknownHost, hosts_of, matrix_of
from controller.topology.nearest import hint
from controller.topology.schema import Device, Link, Route, Topology
from node.hardware.device import Constant, PortSpec, TierSpec
from node.hardware.units import format_quantity

MATRICES_SHOWN = 2
"""Of how many hosts a matrix is shown when none is named."""

ROUTES_SHOWN = 32
"""Most devices between which every route is listed; beyond it the first device of each group stands for the group."""

LISTED = 1024
"""Most devices or links that tables list one by one; beyond it those that are alike share a row."""

MATRIX_ACCELERATORS = 256
"""Most accelerators of a host whose matrix is shown."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def topology_document(topology: Topology, host: str = "") -> dict[str, Any]:
    """The topology as JSON values, in base units: all of it with the matrices of the first hosts, or `host` alone.

    Raises:
        UnknownHost: no such host.
    """
    shown = _part_of(topology, host)
    return {
        "name": topology.name,
        "host": host or None,
        "source": topology.source,
        "digest": topology.digest,
        "overrides": list(topology.overrides),
        "options": dict(topology.options),
        "rent_usd_per_hour": dict(topology.rent_usd_per_hour),
        "devices": [_device_document(device) for device in shown.devices.values()],
        "switches": list(shown.switches),
        "abilities": {
            name: {"types": list(each.types), "multicast": each.multicast, "rate_bytes_per_s": each.rate_bytes_per_s}
            for name, each in shown.abilities.items()
        },
        "links": [_link_document(link) for link in shown.links],
        "failed_links": [link.name for link in shown.failed_links],
        "routes_between": _endpoints(shown)[0],
        "routes": [
            {"from": a, "to": b, "links": [hop.link.name for hop in found.hops], "latency_s": found.latency_s}
            for a, b, found in _routes(topology, shown)
        ],
        "matrices": [
            {
                "host": matrix.host,
                "names": list(matrix.names),
                "cells": [list(row) for row in matrix.cells],
                "cpu_affinity": list(matrix.cpu_affinity),
                "numa_affinity": list(matrix.numa_affinity),
            }
            for matrix in _matrices(topology, host)
        ],
        "assumed": [
            {"of": of, "constant": constant, "value": text, "source": source}
            for of, constant, text, source in assumed_constants(shown)
        ],
    }


def topology_tables(topology: Topology, host: str = "") -> tuple[Table, ...]:
    """The topology as tables of text: devices, memory and ports, links, routes, matrices, assumed constants.

    Args:
        topology: the cluster.
        host: that alone is shown; "" for all of it, with the matrices of the first hosts.

    Raises:
        UnknownHost: no such host.
    """
    shown = _part_of(topology, host)
    parts = [(device, part) for device in _one_of_each(shown) for part in _parts(device)]
    return (
        Table(
            "devices",
            ("device", "kind", "product", "host", "description"),
            _device_rows(shown),
        ),
        Table(
            "tiers and ports",
            ("of", "what", "capacity", "read", "write", "total", "latency"),
            tuple(_part_row(shown, device, part) for device, part in parts),
        ),
        Table("links", ("link", "from", "to", "forward", "backward", "latency"), _link_rows(shown.links)),
        Table("failed links", ("link", "from", "to"), tuple(row[:3] for row in _link_rows(shown.failed_links))),
        Table(
            f"routes between {_endpoints(shown)[0]}",
            ("from", "to", "by", "latency"),
            tuple(
                (a, b, " ".join(hop.link.name for hop in found.hops), _text(None, found.latency_s, "s"))
                for a, b, found in _routes(topology, shown)
            ),
        ),
        *(_matrix_table(matrix) for matrix in _matrices(topology, host)),
        Table("options", ("option", "value"), tuple(topology.options.items())),
        Table(
            "rent",
            ("product", "an hour"),
            tuple((product, f"{usd:g} USD") for product, usd in topology.rent_usd_per_hour.items()),
        ),
        Table("assumed", ("of", "constant", "value", "source"), assumed_constants(shown)),
    )


def assumed_constants(topology: Topology) -> tuple[tuple[str, str, str, str], ...]:
    """(of, constant, value as text, source) of every number that is assumed; equal replicas are listed once."""
    found = [
        (_label(topology, device), each.path, each.text, each.source)
        for device in _one_of_each(topology)
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


def _matrices(topology: Topology, host: str) -> list[Matrix]:
    sizes = Counter(device.host for device in topology.devices.values() if device.spec.kind in ACCELERATORS)
    if host and sizes[host]:
        check_limit(
            UserError, f"the number of accelerators of {host}", sizes[host], MATRIX_ACCELERATORS,
            f"its matrix has {sizes[host] ** 2:,} cells", "leave --host out",
        )  # fmt: skip
    hosts = [each for each in hosts_of(topology) if host in ("", each)][:MATRICES_SHOWN]
    return [matrix_of(topology, each) for each in hosts if sizes[each] <= MATRIX_ACCELERATORS]


def _part_of(topology: Topology, host: str) -> Topology:
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


def _matrix_table(matrix: Matrix) -> Table:
    rows = zip(matrix.names, matrix.cells, matrix.cpu_affinity, matrix.numa_affinity, strict=True)
    return Table(
        f"matrix of {matrix.host}",
        ("", *matrix.names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"),
        tuple((name, *cells, cpu, numa, "N/A") for name, cells, cpu, numa in rows),
    )


def _device_rows(topology: Topology) -> tuple[tuple[str, ...], ...]:
    """One row a device, or one for all that are alike when there are too many to read."""
    alike: dict[tuple[object, ...], list[Device]] = {}
    for device in topology.devices.values():
        one = (device.group, id(device.spec)) if len(topology.devices) > LISTED else (device.name,)
        alike.setdefault(one, []).append(device)
    return tuple(
        (
            _span([device.name for device in devices], "devices"),
            devices[0].spec.kind,
            devices[0].spec.product,
            _span(list(dict.fromkeys(device.host for device in devices)), "hosts"),
            devices[0].spec.description,
        )
        for devices in alike.values()
    )


def _link_rows(links: Sequence[Link]) -> tuple[tuple[str, ...], ...]:
    """One row a link, or one for all that are declared together and alike when there are too many to read."""
    alike: dict[tuple[object, ...], list[Link]] = {}
    for link in links:
        rates = (link.forward_bytes_per_s, link.backward_bytes_per_s, link.latency_s)
        one = (id(link.constants), link.a.port, link.b.port, *rates) if len(links) > LISTED else (link.name,)
        alike.setdefault(one, []).append(link)
    return tuple(
        (
            _span([link.name for link in some], "links"),
            _span(list(dict.fromkeys(str(link.a) for link in some)), "ends"),
            _span(list(dict.fromkeys(str(link.b) for link in some)), "ends"),
            *_link_row(some[0])[3:],
        )
        for some in alike.values()
    )


def _span(names: list[str], what: str) -> str:
    """All of a few names; of many the first, the last and how many."""
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]} ({len(names)} {what})"


def _one_of_each(topology: Topology) -> list[Device]:
    """The first device of every group and every member that an override sets apart from it."""
    first: dict[tuple[str, int], Device] = {}
    for device in topology.devices.values():
        first.setdefault((device.group, id(device.spec)), device)
    return list(first.values())


def _label(topology: Topology, device: Device) -> str:
    alike = [other.name for other in topology.group(device.group) if other.spec is device.spec]
    return _span(alike, "devices")


def _parts(device: Device) -> list[TierSpec | PortSpec]:
    return [*device.spec.tiers.values(), *device.spec.ports.values()]


def _part_row(topology: Topology, device: Device, part: TierSpec | PortSpec) -> tuple[str, ...]:
    def text(key: str, value: float, dimension: str) -> str:
        constant = device.spec.constants.get(f"{part.name}.{key}")
        return _text(constant, value, dimension)

    if isinstance(part, TierSpec):
        what, capacity = f"{part.storage} tier", text("capacity", part.capacity_bytes, "bytes")
        latencies: tuple[str, ...] = (
            text("read_latency", part.read_latency_s, "s"),
            text("write_latency", part.write_latency_s, "s"),
        )
    else:
        what, capacity, latencies = "port", "", (text("latency", part.latency_s, "s"),)
    total = "reads and writes take turns" if part.simplex else ""
    if part.total_bytes_per_s is not None:
        total = text("total", part.total_bytes_per_s, "bytes/s")
    read, write = text("read", part.read_bytes_per_s, "bytes/s"), text("write", part.write_bytes_per_s, "bytes/s")
    of = f"{_label(topology, device)}: {part.name}"
    return (of, what, capacity, read, write, total, " / ".join(dict.fromkeys(latencies)))


def _link_row(link: Link) -> tuple[str, ...]:
    return (
        link.name,
        str(link.a),
        str(link.b),
        _text(link.constants.get("forward"), link.forward_bytes_per_s, "bytes/s"),
        _text(link.constants.get("backward"), link.backward_bytes_per_s, "bytes/s"),
        _text(link.constants.get("latency"), link.latency_s, "s"),
    )


def _text(constant: Constant | None, value: float, dimension: str) -> str:
    """As it was declared; what was computed is rounded for the eye."""
    return constant.text if constant is not None else format_quantity(float(f"{value:.6g}"), dimension)


def _endpoints(topology: Topology) -> tuple[str, list[str]]:
    """Whose routes are listed, in words and as names."""
    if len(topology.devices) <= ROUTES_SHOWN:
        return "all devices", list(topology.devices)
    return "the first devices of the groups", [each.name for each in topology.devices.values() if each.index == 0]


def _routes(topology: Topology, shown: Topology) -> list[tuple[str, str, Route]]:
    """One direction of every pair of `shown` that is joined, by all links; a pair that is not has no row."""
    _, names = _endpoints(shown)
    found = []
    for index, a in enumerate(names):
        for b in names[index + 1 :]:
            try:
                found.append((a, b, route(topology, a, b)))
            except NoRoute:
                continue
    return found


def _device_document(device: Device) -> dict[str, Any]:
    spec = device.spec
    return {
        "name": device.name,
        "group": device.group,
        "index": device.index,
        "host": device.host,
        "product": spec.product,
        "kind": spec.kind,
        "description": spec.description,
        "tiers": [
            {
                "name": tier.name,
                "storage": tier.storage,
                "capacity_bytes": tier.capacity_bytes,
                **_rates(tier),
                "read_latency_s": tier.read_latency_s,
                "write_latency_s": tier.write_latency_s,
                "page_bytes": tier.page_bytes,
            }
            for tier in spec.tiers.values()
        ],
        "ports": [
            {
                "name": port.name,
                **_rates(port),
                "latency_s": port.latency_s,
                "pageable_bytes_per_s": port.pageable_bytes_per_s,
            }
            for port in spec.ports.values()
        ],
        "computes": [
            {"name": compute.name, "peak_flop_per_s": dict(compute.peak_flop_per_s)}
            for compute in spec.computes.values()
        ],
        "queues": [
            {"name": queue.name, "kind": queue.kind, "slots": queue.slots, "launch_s": queue.launch_s}
            for queue in spec.queues.values()
        ],
    }


def _rates(part: TierSpec | PortSpec) -> dict[str, Any]:
    return {
        "read_bytes_per_s": part.read_bytes_per_s,
        "write_bytes_per_s": part.write_bytes_per_s,
        "total_bytes_per_s": part.total_bytes_per_s,
        "simplex": part.simplex,
    }


def _link_document(link: Link) -> dict[str, Any]:
    return {
        "name": link.name,
        "ends": [str(link.a), str(link.b)],
        "forward_bytes_per_s": link.forward_bytes_per_s,
        "backward_bytes_per_s": link.backward_bytes_per_s,
        "latency_s": link.latency_s,
    }
