"""Clusters of a platform: stars, fat trees of two levels and tori, host by host or as one generated fabric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from controller.errors import BadTopology
from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.backbone import backbone_of_cluster
from controller.topology.importing.simgrid.cabling import Cabling
from controller.topology.importing.simgrid.dragonfly import dragonfly_sizes, lay_dragonfly
from controller.topology.importing.simgrid.units import bandwidth_of, latency_of_text
from controller.topology.importing.sketch import Connection, SourcedQuantity, rate_of
from node.hardware.units import format_quantity

MAX_HOSTS = 65_536
READ = {
    "id", "prefix", "suffix", "radical", "speed", "core", "bw", "lat", "sharing_policy", "topology", "topo_parameters",
    "router_id", "bb_bw", "bb_lat", "bb_sharing_policy", "limiter_link", "loopback_bw", "loopback_lat", "power",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClusterSize:
    """The shape of a cluster: FLAT (sizes ()), TORUS (sizes of the dimensions), FAT_TREE (hosts a leaf, leaves, spines,
    cables between a leaf and a spine), DRAGONFLY (as `dragonfly_sizes`)."""

    kind: str
    sizes: tuple[int, ...]
    host_cables: int = 1
    up_cables: int = 1
    colours: tuple[int, ...] = ()


def radical_of(element: Element) -> list[int]:
    """Numbers of the hosts of a cluster.

    Raises:
        BadTopology: no list of ranges, or too many.
    """
    found: list[int] = []
    for part in element.need("radical").split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            given = element.need("radical")
            raise BadTopology(f"{element.where}: radical={given!r} is not a list of ranges; write for example 0-31")
        numbers = range(int(first), int(last or first) + 1)
        if len(numbers) + len(found) > MAX_HOSTS:
            raise BadTopology(f"{element.where}: more than {MAX_HOSTS} hosts")
        found += numbers
    return found


def cluster_size(element: Element, hosts: int) -> ClusterSize:
    """The shape of a cluster of `hosts` hosts.

    Raises:
        BadTopology: one that is not read, or that has another number of hosts.
    """
    kind = element.attributes.get("topology", "FLAT").upper()
    if kind == "FLAT":
        return ClusterSize(kind, ())
    if kind == "TORUS":
        sizes = _counts(element, element.need("topo_parameters"))
        if math.prod(sizes) != hosts:
            raise BadTopology(f"{element.where}: a torus of {element.need('topo_parameters')} has not {hosts} hosts")
        return ClusterSize(kind, sizes)
    if kind == "DRAGONFLY":
        counts = [_counts(element, part) for part in element.need("topo_parameters").split(";")]
        sizes, colours = dragonfly_sizes(element, counts, hosts)
        return ClusterSize(kind, sizes, colours=colours)
    if kind != "FAT_TREE":
        raise BadTopology(
            f"{element.where}: a cluster of topology {kind} is not read; use FLAT, TORUS, FAT_TREE or DRAGONFLY"
        )
    parts = element.need("topo_parameters").split(";")
    if parts[0].strip() != "2" or len(parts) != 4:
        raise BadTopology(f"{element.where}: a fat tree of {parts[0]} levels is not read; use 2")
    down, up, parallel = (_counts(element, part) for part in parts[1:])
    if min(len(down), len(up), len(parallel)) < 2 or down[0] * down[1] != hosts or up[0] != 1:
        raise BadTopology(f"{element.where}: {element.need('topo_parameters')} is not a tree of {hosts} hosts")
    return ClusterSize(kind, (down[0], down[1], up[1]), parallel[0], parallel[1])


def _counts(element: Element, text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(each) for each in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        given = element.attributes.get("topo_parameters", "")
        raise BadTopology(f"{element.where}: topo_parameters={given!r} has {text!r}, which is not a list of counts")
    return found


def cluster_name(element: Element, index: int | str) -> str:
    """Name of a host of a cluster, or of its router."""
    return f"{element.need('prefix')}{index}{element.need('suffix')}"


def router_name(element: Element) -> str:
    """Name of the router in the middle: SimGrid makes it of prefix, id and suffix where the cluster gives none."""
    return element.attributes.get("router_id", "") or cluster_name(element, f"{element.need('id')}_router")


def note_attributes(cabling: Cabling, element: Element) -> None:
    """Notes what a cluster says beside its links."""
    notes = cabling.sketch.notes
    notes += [f"{name} of <cluster>" for name in sorted(set(element.attributes) - READ)]
    notes += [f"<{child.tag}> of a cluster" for child in element.children]
    if "loopback_bw" in element.attributes or "loopback_lat" in element.attributes:
        notes.append("the loopback of a host, whose memory does that here")


def narrow(element: Element, hosts: int) -> bool:
    """Whether a cluster has a backbone that its hosts feel."""
    backbone = backbone_of_cluster(element)
    one = bandwidth_of(element.need("bw"), element)
    return backbone is not None and backbone.holds_up(one, hosts * one)


def lay_cluster(cabling: Cabling, element: Element, hosts: list[str], size: ClusterSize) -> None:
    """Lays every cable of a cluster.

    Args:
        cabling: where.
        element: the cluster.
        hosts: ends of its hosts.
        size: its shape.
    """
    need = element.need
    policy = element.attributes.get("sharing_policy", "SPLITDUPLEX")

    def wire(a: str, b: str, copies: float = 1, latency: str = "", dimension: int = -1) -> None:
        rate = need("bw") if copies == 1 else f"{bandwidth_of(need('bw'), element) * copies:.17g}Bps"
        wait = latency or _latency(element)
        cabling.connect(a, b, element, need("id"), rate, wait, policy, passes=passes, dimension=dimension)

    middle = cabling.switch(router_name(element))
    backbone = backbone_of_cluster(element)
    passes: tuple[str, ...] = ()
    if size.kind == "FLAT" and backbone is not None:
        middle, passes = backbone.lay(cabling, router_name(element), passed=narrow(element, len(hosts)))
    if "limiter_link" in element.attributes:
        hosts = _limited(cabling, element, hosts)
    match size.kind:
        case "FLAT":
            for end in hosts:
                wire(end, middle)
        case "TORUS":
            _lay_torus(cabling, element, hosts, size, wire)
        case "DRAGONFLY":
            counts = range(len(hosts) // size.sizes[3])
            routers = [cabling.switch(f"{need('id')}_router{index}") for index in counts]
            lay_dragonfly(routers, hosts, size.sizes, size.colours, wire)
        case _:
            below, leaf_count, spine_count = size.sizes
            leaves = [cabling.switch(f"{need('id')}_leaf{index}") for index in range(leaf_count)]
            spines = [cabling.switch(f"{need('id')}_spine{index}") for index in range(spine_count)]
            for index, end in enumerate(hosts):
                wire(end, leaves[index // below], size.host_cables)
            for leaf in leaves:
                for spine in spines:
                    wire(leaf, spine, size.up_cables)


def _latency(element: Element) -> str:
    """Latency of a link of a host, with its half of the backbone's."""
    if "bb_lat" not in element.attributes or "bb_bw" not in element.attributes:
        return element.need("lat")
    own, backbone = (latency_of_text(element.need(key), element) for key in ("lat", "bb_lat"))
    return f"{own + backbone / 2:.17g}s"


def _lay_torus(
    cabling: Cabling, element: Element, hosts: list[str], size: ClusterSize, wire: Callable[..., None]
) -> None:
    routers = [cabling.switch(f"{cluster_name(element, index)}_router") for index in radical_of(element)]
    for end, router in zip(hosts, routers, strict=True):
        wire(end, router, 2.0 * len(size.sizes), "0s")
    stride = 1
    for dimension, extent in enumerate(size.sizes):
        for index, router in enumerate(routers):
            at = index // stride % extent
            if extent > 2 or (extent == 2 and at == 0):
                wire(router, routers[index + ((at + 1) % extent - at) * stride], dimension=dimension)
        stride *= extent
    cabling.sketch.notes.append("the loopback of a node; its way to its own router is as wide as its links")


def _limited(cabling: Cabling, element: Element, hosts: list[str]) -> list[str]:
    """A limiter link before each host, which all that it sends and receives passes; returns its far ends."""
    found = []
    for end in hosts:
        limiter = cabling.switch(f"{end.partition('.')[0]}_limiter")
        rate = element.need("limiter_link")
        cabling.connect(end, limiter, element, f"{element.need('id')}_limiter", rate, "0s", "SHARED")
        found.append(limiter)
    return found


def cluster_fabric(cabling: Cabling, element: Element, size: ClusterSize, hosts: int, product: str, port: str) -> str:
    """A cluster as the ``fabric:`` block of a topology file: a few lines for any number of hosts.

    Args:
        cabling: for what the user gives.
        element: the cluster.
        size: its shape.
        hosts: how many.
        product, port: of each host.
    """
    where, name = element.where, element.need("id")
    policy = element.attributes.get("sharing_policy", "SPLITDUPLEX").upper()

    def wire(copies: float = 1, latency: str = "") -> str:
        # The same checks and sources as a cable that is laid.
        cabling.connect("a", "b", element, name, element.need("bw"), latency or _latency(element), policy)
        link: Connection = cabling.sketch.links.pop()
        rate = bandwidth_of(element.need("bw"), element) * copies
        assert link.bandwidth is not None
        bandwidth = rate_of(cabling.given, name, where, rate, link.bandwidth.source)
        wait = latency_of_text(latency or _latency(element), element)
        quantity = SourcedQuantity(format_quantity(wait, "s"), "datasheet", link.latency.source)
        shared = ", shared: true" if link.shared else ""
        return f"bandwidth: {bandwidth.yaml}, latency: {quantity.yaml}{shared}"

    chassis = f"  host: {{devices: {{node: {{product: {product}}}}}, uplinks: [node.{port}]}}\n"
    match size.kind:
        case "FLAT":
            networks = f"  networks: {{router: {{ends: [node.{port}], {wire()}}}}}\n"
            return (
                f"fabric:\n  kind: star\n  hosts: {hosts}\n"
                + chassis.replace(f", uplinks: [node.{port}]", "")
                + networks
            )
        case "TORUS":
            # There the first dimension runs fastest, here the last.
            extents = ", ".join(map(str, reversed(size.sizes)))
            own = f"  host_link: {{{wire(2.0 * len(size.sizes), '0s')}}}\n"
            cables = f"  link: {{{wire()}}}\n{own}"
            return f"fabric:\n  kind: torus\n  dimensions: [{extents}]\n  last_first: true\n{chassis}{cables}"
        case _:
            below, leaves, spines = size.sizes
            counts = f"  leaves: {leaves}\n  hosts_per_leaf: {below}\n  spines: {spines}\n"
            cables = f"  link: {{{wire(size.host_cables)}}}\n  uplink: {{{wire(size.up_cables)}}}\n"
            return f"fabric:\n  kind: leaf_spine\n{counts}{chassis}{cables}"
