"""A SimGrid platform: hosts, routers, links, routes and clusters.

A platform lists routes, a topology has cables, and only some lists are those of cables. A route of one link (zones with
shortest-path routing have no others) says what the link joins; longer ones are laid out along those, and two links of
which nothing else is known meet in a switch. Clusters are read where they are flat, fat trees of two levels or tori.
Anything else is an error with its line: a link that many routes share anywhere is no cable between two vertices.

A host becomes one device of the product that is given; what it computes per second is that of the product.
``SPLITDUPLEX`` is what a link here always is. A ``SHARED`` link carries both directions together, so each of them gets
half of it; a ``FATPIPE`` limits each flow alone, and is refused.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.importing.markup import Element, read_markup
from controller.topology.importing.sketch import (
    Chassis,
    Connection,
    Given,
    Names,
    Sketch,
    SourcedQuantity,
    first_port,
    rate_of,
)
from node.hardware.units import format_quantity

SCALE = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "m": 60.0}
PORTS = ("pcie", "xgmi", "nvlink", "ub", "ici", "hccs", "host")
MAX_HOSTS = 65_536
PASSED_OVER = ("prop", "config")


class _Platform:
    def __init__(self, path: Path, name: str, given: Given) -> None:
        self.given = given
        self.path = path
        self.sketch = Sketch(name)
        self.names = Names()
        self.ends: dict[str, str] = {}
        self.links: dict[str, Element] = {}
        self.meeting: dict[str, str] = {}
        self.waiting: list[tuple[str, str, list[str], Element]] = []

    def zone(self, element: Element) -> None:
        for child in element.children:
            match child.tag:
                case "zone" | "AS":
                    self.zone(child)
                case "host":
                    self.host(child.need("id"), child)
                case "router":
                    self.switch(child.need("id"))
                case "link":
                    self.links[child.need("id")] = child
                case "cluster":
                    self.cluster(child)
                case "route" | "zoneRoute" | "ASroute":
                    self.route(child)
                case other:
                    if other not in PASSED_OVER:
                        raise BadTopology(
                            f"{child.where}: <{other}> is not read; take it out, or declare the cluster by hand"
                        )
                    self.sketch.notes.append(f"<{other}>")

    def host(self, name: str, element: Element) -> str:
        if name in self.ends:
            raise BadTopology(f"{element.where}: the host {name!r} is there already")
        spec = self.given.product("host", name, element.where)
        device = self.names.of(name)
        port = first_port(spec, tuple(each for each in PORTS if each in spec.ports) or PORTS, element.where)
        self.sketch.hosts[f"{device}_host"] = Chassis(devices={device: (spec.product, None)})
        self.ends[name] = f"{device}.{port}"
        self.sketch.notes.append("speed and cores of hosts, which are those of their product")
        if len(self.sketch.hosts) > MAX_HOSTS:
            raise BadTopology(f"{element.where}: more than {MAX_HOSTS} hosts")
        return self.ends[name]

    def switch(self, name: str) -> str:
        if name not in self.ends:
            self.ends[name] = self.names.of(name)
            self.sketch.switches.append(self.ends[name])
        return self.ends[name]

    def connect(self, a: str, b: str, element: Element, name: str, rate: str, latency: str, policy: str) -> None:
        bytes_per_s = _bandwidth(rate, element)
        source = f"{self.path.name}:{element.line}, {rate}"
        if policy == "FATPIPE":
            raise BadTopology(f"{element.where}: a FATPIPE limits every flow alone, which no link here does")
        if policy == "SHARED":
            bytes_per_s /= 2
            source += " for both directions together"
        bandwidth = rate_of(self.given, name, element.where, bytes_per_s, source)
        wait = SourcedQuantity(
            format_quantity(_latency(latency, element), "s"), "datasheet", f"{self.path.name}:{element.line}"
        )
        self.sketch.links.append(Connection(a, b, bandwidth, wait))

    def use(self, a: str, b: str, link: str, element: Element) -> None:
        """Lays the cable `link` between two ends, unless it lies there."""
        if link not in self.links:
            raise BadTopology(f"{element.where}: no link {link!r} is declared before this line")
        declared = self.links[link]
        if link in self.meeting:
            if self.meeting[link] not in (f"{a} {b}", f"{b} {a}"):
                raise BadTopology(
                    f"{element.where}: the link {link!r} joins {self.meeting[link].replace(' ', ' and ')} already; "
                    f"one that many routes share is not a cable: declare the cluster by hand"
                )
            return
        self.meeting[link] = f"{a} {b}"
        policy = declared.attributes.get("sharing_policy", "SHARED")
        self.connect(
            a,
            b,
            declared,
            link,
            declared.need("bandwidth"),
            declared.attributes.get("latency", "0"),
            policy,
        )

    def route(self, element: Element) -> None:
        zones = element.tag != "route"
        ends = [
            self.known(element.attributes.get(gateway, "") or element.need(plain), element)
            for gateway, plain in (
                (("gw_src", "src"), ("gw_dst", "dst")) if zones else (("src", "src"), ("dst", "dst"))
            )
        ]
        links = [each.need("id") for each in element.all("link_ctn")]
        if len(links) == 1:
            self.use(ends[0], ends[1], links[0], element)
        elif links:
            self.waiting.append((ends[0], ends[1], links, element))
        else:
            raise BadTopology(f"{element.where}: a route without links")

    def settle(self) -> None:
        """Lays the cables of longer routes, each as soon as the others say where it ends."""
        while self.waiting:
            left = [route for route in self.waiting if not self.lay(*route)]
            if len(left) == len(self.waiting):
                a, _, links, element = self.shortened(*left[0])
                if len(links) != 2:
                    raise BadTopology(
                        f"{element.where}: nothing says where the cables {', '.join(links)} of this route meet; add "
                        f"routers, and routes of one link between them"
                    )
                self.use(a, self.switch(f"meet_{links[0]}_{links[1]}"), links[0], element)
            self.waiting = left

    def lay(self, a: str, b: str, links: list[str], element: Element) -> bool:
        """Whether the route is all cables now."""
        a, b, links, element = self.shortened(a, b, links, element)
        if len(links) == 1:
            self.use(a, b, links[0], element)
        elif not links and a != b:
            raise BadTopology(f"{element.where}: the cables of this route lie already, and end at {a}, not at {b}")
        return len(links) < 2

    def shortened(self, a: str, b: str, links: list[str], element: Element) -> tuple[str, str, list[str], Element]:
        """A route without the cables at its ends that lie already."""
        links = list(links)
        while links and self.other_end(links[0], a):
            a = self.other_end(links.pop(0), a)
        while links and self.other_end(links[-1], b):
            b = self.other_end(links.pop(), b)
        return a, b, links, element

    def other_end(self, link: str, end: str) -> str:
        """Where a cable that lies ends, seen from `end`; "" when it does not lie there."""
        joined = self.meeting.get(link, "").split(" ")
        return next((other for other in joined if other != end), "") if end in joined else ""

    def known(self, name: str, element: Element) -> str:
        if name not in self.ends:
            raise BadTopology(f"{element.where}: no host or router {name!r} is declared before this line")
        return self.ends[name]

    def cluster(self, element: Element) -> None:
        need = element.need
        names = [f"{need('prefix')}{index}{need('suffix')}" for index in _radical(element)]
        hosts = [self.host(name, element) for name in names]
        policy = element.attributes.get("sharing_policy", "SPLITDUPLEX")
        shape = element.attributes.get("topology", "FLAT").upper()

        def wire(a: str, b: str, copies: float = 1) -> None:
            rate = f"{_bandwidth(need('bw'), element) * copies:.17g}Bps"
            self.connect(a, b, element, need("id"), rate, need("lat"), policy)

        middle = self.switch(element.attributes.get("router_id", f"{need('id')}_router"))
        match shape:
            case "FLAT":
                for end in hosts:
                    wire(end, middle)
                if "bb_bw" in element.attributes:
                    # All traffic of a cluster passes its backbone once, which a switch in the middle does not model.
                    backbone = _bandwidth(need("bb_bw"), element)
                    if backbone < len(hosts) * _bandwidth(need("bw"), element):
                        raise BadTopology(
                            f"{element.where}: a backbone of {need('bb_bw')} that holds up {len(hosts)} hosts of "
                            f"{need('bw')} is not a switch: declare it by hand"
                        )
                    self.sketch.notes.append("a backbone that is wider than all hosts together, and its latency")
            case "TORUS":
                sizes = [int(size) for size in need("topo_parameters").split(",")]
                if math.prod(sizes) != len(hosts):
                    raise BadTopology(
                        f"{element.where}: a torus of {need('topo_parameters')} has not {len(hosts)} hosts"
                    )
                routers = [self.switch(f"{name}_router") for name in names]
                for end, router in zip(hosts, routers, strict=True):
                    wire(end, router, 2.0 * len(sizes))
                stride = 1
                for size in sizes:
                    for index, router in enumerate(routers):
                        at = index // stride % size
                        if size > 2 or (size == 2 and at == 0):
                            wire(router, routers[index + ((at + 1) % size - at) * stride])
                    stride *= size
                self.sketch.notes.append("the loopback of a node; its way to its own router is as wide as its links")
            case "FAT_TREE":
                self.fat_tree(element, hosts, wire)
            case other:
                raise BadTopology(
                    f"{element.where}: a cluster of topology {other} is not read; use FLAT, TORUS or FAT_TREE"
                )

    def fat_tree(self, element: Element, hosts: list[str], wire: object) -> None:
        assert callable(wire)
        parts = element.need("topo_parameters").split(";")
        if parts[0] != "2" or len(parts) != 4:
            raise BadTopology(f"{element.where}: a fat tree of {parts[0]} levels is not read; use 2")
        down, up, parallel = ([int(each) for each in part.split(",")] for part in parts[1:])
        if down[0] * down[1] != len(hosts) or up[0] != 1:
            raise BadTopology(f"{element.where}: {element.need('topo_parameters')} is no tree of {len(hosts)} hosts")
        leaves = [self.switch(f"{element.need('id')}_leaf{index}") for index in range(down[1])]
        spines = [self.switch(f"{element.need('id')}_spine{index}") for index in range(up[1])]
        for index, end in enumerate(hosts):
            wire(end, leaves[index // down[0]], parallel[0])
        for leaf in leaves:
            for spine in spines:
                wire(leaf, spine, parallel[1])


def simgrid(path: Path, name: str, given: Given) -> Sketch:
    """See the module.

    Raises:
        BadTopology: no platform, or one that has no equal here, with its line.
    """
    root = read_markup(path, "platform")
    platform = _Platform(path, name, given)
    platform.zone(root)
    platform.settle()
    if not platform.sketch.hosts:
        raise BadTopology(f"{root.where}: the platform has no host")
    used = {vertex for link in platform.sketch.links for vertex in (link.a, link.b)}
    platform.sketch.switches = [switch for switch in platform.sketch.switches if switch in used]
    return platform.sketch


def _radical(element: Element) -> list[int]:
    found: list[int] = []
    for part in element.need("radical").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BadTopology(f"{element.where}: radical={element.need('radical')!r} is no list of ranges such as 0-31")
        numbers = range(int(first), int(last or first) + 1)
        if len(numbers) + len(found) > MAX_HOSTS:
            raise BadTopology(f"{element.where}: more than {MAX_HOSTS} hosts")
        found += numbers
    return found


def _bandwidth(text: str, element: Element) -> float:
    """[bytes/s]; SimGrid's units are bytes (Bps) or bits (bps), decimal or binary."""
    match = re.fullmatch(r"([0-9.eE+-]+)\s*(?:([kMGT]|[KMGT]i)?([Bb])ps)?", text.strip())
    try:
        amount = float(match[1]) if match else math.nan
    except ValueError:
        amount = math.nan
    if match is None or not 0 < amount < math.inf:
        raise BadTopology(f"{element.where}: {text!r} is no bandwidth above 0, such as 125MBps or 1Gbps")
    scale = (SCALE | BINARY)[match[2] or ""]
    return amount * scale / (8 if match[3] == "b" else 1)


def _latency(text: str, element: Element) -> float:
    match = re.fullmatch(r"([0-9.eE+-]+)\s*([a-z]*)", text.strip())
    if match is None or match[2] not in SECONDS:
        raise BadTopology(f"{element.where}: {text!r} is not a latency; write for example 50us")
    try:
        return float(match[1]) * SECONDS[match[2]]
    except ValueError as error:
        raise BadTopology(f"{element.where}: {text!r} is not a latency; write for example 50us") from error
