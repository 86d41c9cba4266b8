"""The zones of a platform, top down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.importing.markup import Element, read_markup
from controller.topology.importing.simgrid.cabling import Cabling
from controller.topology.importing.simgrid.cluster import (
    MAX_HOSTS,
    cluster_fabric,
    cluster_name,
    cluster_size,
    lay_cluster,
    narrow,
    note_attributes,
    radical_of,
)
from controller.topology.importing.simgrid.star_zone import ROUTINGS as STAR
from controller.topology.importing.simgrid.star_zone import lay_star_zone
from controller.topology.importing.simgrid.vivaldi import PEER_READ, lay_vivaldi_zone
from controller.topology.importing.sketch import Chassis, Given, Names, Sketch, first_port

PORTS = ("pcie", "xgmi", "nvlink", "ub", "ici", "hccs", "host")
PASSED_OVER = ("prop", "config", "random", "process", "actor", "storage_type", "storage", "mount")
"""Elements that neither time nor bytes of a transfer hang on; each is noted."""
SHORTEST = ("floyd", "dijkstra", "dijkstracache")
ROUTINGS = ("full", "none", "", "vivaldi", *STAR, *SHORTEST)
BYPASSES = ("bypassRoute", "bypassZoneRoute", "bypassASroute")
OLDEST_VERSION = 3.0
"""Versions before it have other units and names of elements."""
LISTED_HOSTS = 1_024
"""Hosts from which on a cluster that is all of a platform is written as a generated fabric."""
MOST_LISTED = 8_192
"""Most hosts that are written one by one: a file of more is slow to read."""
PROFILES = ("availability_file", "speed_file", "state_file", "bandwidth_file", "latency_file", "availability")
HOST_READ = {"id", "speed", "core", "power", "coordinates", "pstate"}
LINK_READ = {"id", "bandwidth", "latency", "sharing_policy"}


class _Platform:
    def __init__(self, name: str, given: Given) -> None:
        self.given = given
        self.sketch = Sketch(name)
        self.names = Names()
        self.cabling = Cabling(self.sketch, self.names, given)

    def zone(self, element: Element) -> None:
        routing = element.attributes.get("routing", "").lower()
        if element.tag != "platform" and routing not in ROUTINGS:
            raise BadTopology(
                f"{element.where}: routing={element.attributes['routing']!r} is not read, since its hosts are not "
                f"joined by cables; use Full, Floyd or Dijkstra"
            )
        star = element.tag != "platform" and routing in STAR
        ends: dict[str, str] = {}
        for child in element.children:
            match child.tag:
                case "zone" | "AS":
                    self.zone(child)
                case "cabinet" if star:
                    for number in radical_of(child):
                        name = cluster_name(child, number)
                        ends[name] = self.host(name, child)
                case "host_link" | "backbone" if star or routing == "vivaldi":
                    pass
                case "peer" if routing == "vivaldi":
                    self.host(child.need("id"), child)
                    self.left_out(child, PEER_READ, "peers")
                case "trace" | "trace_connect":
                    self.trace(child)
                case "host":
                    end = self.host(child.need("id"), child)
                    if routing in SHORTEST:
                        self.cabling.forwards.add(end)
                case "router":
                    self.cabling.switch(child.need("id"))
                case "link":
                    self.link(child)
                case "cluster":
                    self.cluster(child)
                case "route" | "zoneRoute" | "ASroute" | "bypassRoute" | "bypassZoneRoute" | "bypassASroute":
                    self.route(child)
                case other:
                    if other not in PASSED_OVER:
                        raise BadTopology(
                            f"{child.where}: <{other}> is not read; take it out, or declare the cluster by hand"
                        )
                    self.sketch.notes.append(f"<{other}>{_names_of(child)}")
        if star:
            lay_star_zone(self.cabling, element, ends)
        elif routing == "vivaldi":
            lay_vivaldi_zone(self.cabling, element)
        elif routing == "none" and len(list(element.all("host"))) > 1:
            raise BadTopology(
                f"{element.where}: routing={element.attributes['routing']!r} is that of hosts without routes, so that "
                f"nothing could be sent; use Full with routes, Floyd or Dijkstra"
            )

    def trace(self, element: Element) -> None:
        """What changes in time: noted with the element that it changes."""
        if element.tag == "trace_connect":
            kind, of = element.attributes.get("kind", "HOST_AVAIL"), element.need("element")
            self.sketch.notes.append(f"{kind} of {of!r}, by which it changes in time (line {element.line})")

    def link(self, element: Element) -> None:
        self.left_out(element, LINK_READ, "links")
        self.cabling.links[element.need("id")] = element
        if element.attributes.get("sharing_policy", "").upper() == "WIFI":
            raise BadTopology(
                f"{element.where}: sharing_policy='WIFI' is not read: stations share the air, not a cable"
            )

    def host(self, name: str, element: Element) -> str:
        if name in self.cabling.ends:
            raise BadTopology(f"{element.where}: the host {name!r} is there already")
        product, port = self.product(name, element)
        device = self.names.of(name)
        self.sketch.hosts[self.names.of(f"{name} host")] = Chassis(devices={device: (product, None)})
        self.cabling.ends[name] = f"{device}.{port}"
        self.sketch.notes.append("speed and cores of hosts, which are those of their product")
        if element.tag == "host":
            self.left_out(element, HOST_READ, "hosts")
        if len(self.sketch.hosts) > MOST_LISTED:
            raise BadTopology(
                f"{element.where}: more than {MOST_LISTED} hosts that are listed one by one; give one <cluster> alone, "
                f"of up to {MAX_HOSTS}, or declare a fabric by hand"
            )
        return self.cabling.ends[name]

    def product(self, name: str, element: Element) -> tuple[str, str]:
        spec = self.given.product("host", name, element.where)
        ports = tuple(each for each in PORTS if each in spec.ports) or PORTS
        return spec.product, first_port(spec, ports, element.where)

    def left_out(self, element: Element, read: set[str], what: str) -> None:
        """Notes what an element says and a topology does not hold."""
        for name in element.attributes:
            if name in PROFILES:
                self.sketch.notes.append(f"{name} of {what}, by which they change in time (line {element.line})")
            elif name not in read:
                self.sketch.notes.append(f"{name} of {what}")
        self.sketch.notes += [f"<{child.tag}> of {what}" for child in element.children]

    def route(self, element: Element) -> None:
        zones = element.tag not in ("route", "bypassRoute")
        plain = [element.need(side) for side in ("src", "dst")]
        links = [self.cabling.whole(each.need("id")) for each in element.all("link_ctn")]
        for number, each in enumerate(element.all("link_ctn")):
            if each.attributes.get("direction", "").upper() == "DOWN":
                links[number] = links[number][0], False
        if not zones and plain[0] == plain[1]:
            self.known(plain[0], element)
            self.sketch.notes.append("the route of a host to itself, which is its own memory here")
            return
        gateways = [element.attributes.get(f"gw_{side}", "") for side in ("src", "dst")] if zones else ["", ""]
        ends = [self.known(gateway or name, element) for gateway, name in zip(gateways, plain, strict=True)]
        if zones:
            self.cabling.forwards.update(ends)
        own = element.tag in BYPASSES
        if own and zones and any("." not in end for end in ends) and len(links) > 1:
            self.sketch.notes.append(f"whether others than those two zones pass {element.tag} (line {element.line})")
        self.cabling.route(ends[0], ends[1], links, element, own=own)

    def known(self, name: str, element: Element) -> str:
        if name not in self.cabling.ends:
            raise BadTopology(f"{element.where}: no host or router {name!r} is declared before this line")
        return self.cabling.ends[name]

    def cluster(self, element: Element) -> None:
        numbers = radical_of(element)
        size = cluster_size(element, len(numbers))
        note_attributes(self.cabling, element)
        hosts = [self.host(cluster_name(element, number), element) for number in numbers]
        lay_cluster(self.cabling, element, hosts, size)

    def only_cluster(self, root: Element) -> bool:
        """Writes a platform that is one large cluster as a fabric; whether it is one."""
        found = [each for each in _parts(root) if each.tag not in PASSED_OVER]
        if len(found) != 1 or found[0].tag != "cluster" or "limiter_link" in found[0].attributes:
            return False
        element = found[0]
        numbers = radical_of(element)
        if (
            len(numbers) <= LISTED_HOSTS
            or element.attributes.get("topology", "").upper() == "DRAGONFLY"
            or set(self.given.products) - {"host", ""}
            or narrow(element, len(numbers))
        ):
            return False
        size = cluster_size(element, len(numbers))
        note_attributes(self.cabling, element)
        product, port = self.product("host", element)
        self.sketch.fabric = cluster_fabric(self.cabling, element, size, len(numbers), product, port)
        first, last = cluster_name(element, numbers[0]), cluster_name(element, numbers[-1])
        self.sketch.notes.append(f"the names of hosts: {first} to {last} are node0 to node{len(numbers) - 1}")
        self.sketch.notes.append("speed and cores of hosts, which are those of their product")
        return True


def simgrid(path: Path, name: str, given: Given) -> Sketch:
    """The cluster that a platform describes.

    Raises:
        BadTopology: no platform, or one that has no equal here, with its line.
    """
    root = read_markup(path, "platform")
    _check_version(root)
    platform = _Platform(name, given)
    if platform.only_cluster(root):
        return platform.sketch
    platform.zone(root)
    platform.cabling.settle()
    if not platform.sketch.hosts:
        raise BadTopology(f"{root.where}: the platform has no host; give one with <host> or <cluster>")
    used = {vertex for link in platform.sketch.links for vertex in (link.a, link.b)}
    platform.sketch.switches = [switch for switch in platform.sketch.switches if switch in used]
    return platform.sketch


def _parts(element: Element) -> Iterator[Element]:
    """What a platform holds, zones opened."""
    for child in element.children:
        if child.tag in ("zone", "AS"):
            yield from _parts(child)
        else:
            yield child


def _check_version(root: Element) -> None:
    """Refuses platforms of before SimGrid 3.5, whose bandwidths are in other units.

    Raises:
        BadTopology: an older version, or none.
    """
    version = root.number("version", 0.0)
    if version < OLDEST_VERSION:
        said = f"version={root.attributes['version']!r}" if "version" in root.attributes else "no version"
        raise BadTopology(
            f"{root.where}: {said}, where bandwidths had other units; 3 to 4.1 are read: run simgrid_update_xml on the "
            f"file"
        )


def _names_of(element: Element) -> str:
    """What a ``config`` or ``prop`` sets, in brackets; "" for others."""
    names = [each.attributes.get("id", "") for each in ((element,) if element.tag == "prop" else element.all("prop"))]
    return f" ({', '.join(names)})" if any(names) and element.tag in ("config", "prop") else ""
