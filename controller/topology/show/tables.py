"""A topology as tables of text with units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.topology.matrix import Matrix
from controller.topology.schema import Device, Link, Topology
from controller.topology.show.selection import (
    alike_text,
    assumed_constants,
    endpoints_of,
    matrices_of,
    one_of_each,
    part_of,
    routes_between,
    span_text,
)
from node.hardware.device import Constant, PortSpec, TierSpec
from node.hardware.units import format_quantity

LISTED = 1024
"""Most devices or links that tables list one by one; beyond it those that are alike share a row."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def topology_tables(topology: Topology, host: str = "") -> tuple[Table, ...]:
    """The topology as tables of text: devices, memory and ports, links, routes, matrices, assumed constants.

    Args:
        topology: the cluster.
        host: that alone is shown; "" for all of it, with the matrices of the first hosts.

    Raises:
        UnknownHost: no such host.
    """
    shown = part_of(topology, host)
    parts = [(device, part) for device in one_of_each(shown) for part in _parts(device)]
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
            f"routes between {endpoints_of(shown)[0]}",
            ("from", "to", "by", "latency"),
            tuple(
                (a, b, " ".join(hop.link.name for hop in found.hops), _text(None, found.latency_s, "s"))
                for a, b, found in routes_between(topology, shown)
            ),
        ),
        *(_matrix_table(matrix) for matrix in matrices_of(topology, host)),
        Table("options", ("option", "value"), tuple(topology.options.items())),
        Table(
            "rent",
            ("product", "an hour"),
            tuple((product, f"{usd:g} USD") for product, usd in topology.rent_usd_per_hour.items()),
        ),
        Table("assumed", ("of", "constant", "value", "source"), assumed_constants(shown)),
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
            span_text([device.name for device in devices], "devices"),
            devices[0].spec.kind,
            devices[0].spec.product,
            span_text(list(dict.fromkeys(device.host for device in devices)), "hosts"),
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
            span_text([link.name for link in some], "links"),
            span_text(list(dict.fromkeys(str(link.a) for link in some)), "ends"),
            span_text(list(dict.fromkeys(str(link.b) for link in some)), "ends"),
            *_link_row(some[0])[3:],
        )
        for some in alike.values()
    )


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
    of = f"{alike_text(topology, device)}: {part.name}"
    return (of, what, capacity, read, write, total, " / ".join(dict.fromkeys(latencies)))


def _link_row(link: Link) -> tuple[str, ...]:
    return (
        link.name,
        str(link.a),
        str(link.b),
        _text(link.constants.get("forward"), link.forward_bytes_per_s, "bytes/s"),
        _backward(link),
        _text(link.constants.get("latency"), link.latency_s, "s"),
    )


def _backward(link: Link) -> str:
    if link.shared:
        return "shared"
    rate = _text(link.constants.get("backward"), link.backward_bytes_per_s, "bytes/s")
    return rate + (" per flow" if link.per_flow else "") + "".join(f" +{hop.resource}" for hop in link.passes)


def _text(constant: Constant | None, value: float, dimension: str) -> str:
    """As it was declared; what was computed is rounded for the eye."""
    return constant.text if constant is not None else format_quantity(float(f"{value:.6g}"), dimension)
