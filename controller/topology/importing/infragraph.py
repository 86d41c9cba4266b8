"""An InfraGraph infrastructure (Keysight, MLCommons), as its Python package serialises one: YAML or JSON.

Read are devices with components, edges (``many2many`` and ``one2one``) and links, devices inside of devices, instances
and the edges between them. A component ``xpu`` becomes a device of the product that is given; every other one passes
data on and becomes a switch, a ``cpu`` too, beside which ``--product cpu=NAME`` puts a device in whatever holds an
``xpu``. A link without a rate, or with one in transfers, must be given (``--link NAME=...``).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.errors import BadTopology
from controller.topology.document import Document, Place
from controller.topology.importing.infragraph_keys import refuse_older_layout, unread_keys
from controller.topology.importing.sketch import (
    Chassis,
    Connection,
    Given,
    Names,
    Sketch,
    SourcedQuantity,
    first_port,
    latency_of,
    rate_of,
    text_of,
)
from controller.topology.nearest import hint
from node.hardware.device import DeviceSpec

BANDWIDTHS = {"gigabits_per_second": 1e9 / 8, "gigabytes_per_second": 1e9}
LATENCIES = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}
PORTS = {"nvlink": ("nvlink", "xgmi", "ub", "ici"), "": ("pcie", "nvlink", "xgmi", "ub", "ici")}
OWN_LINK = re.compile(r"nvl|fabric|xgmi|scale.?up", re.IGNORECASE)
"""How links of accelerators with one another are called."""
MAX_VERTICES = 262_144


@dataclass(frozen=True, slots=True)
class _Edge:
    a: str
    b: str
    link: str
    links: Place
    place: Place


class _Graph:
    """Definitions by name, and what they expand to."""

    def __init__(self, path: Path) -> None:
        self.document = Document(path)
        refuse_older_layout(self.document)
        data = self.document.data
        self.data = data
        self.devices: dict[str, tuple[Mapping[str, Any], Place]] = {
            str(each.get("name")): (each, ("devices", index))
            for index, each in enumerate(self.entries(data, "devices"))
        }
        self.counts = {
            name: {str(part.get("name")): self.count(part, place) for part in self.entries(device, "components")}
            for name, (device, place) in self.devices.items()
        }

    def wrong(self, place: Place, why: str) -> BadTopology:
        return BadTopology(f"{self.document.where(place)}: {why}")

    def entries(self, data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        found = data.get(key) or []
        if not isinstance(found, list) or any(not isinstance(each, Mapping) for each in found):
            raise self.wrong((key,), f"{key} is no list of mappings")
        return found

    def count(self, part: Mapping[str, Any], place: Place) -> int:
        count = part.get("count", 1)
        if not isinstance(count, int) or not 1 <= count <= MAX_VERTICES:
            raise self.wrong(place, f"a count of {count!r}; it is a whole number from 1 to {MAX_VERTICES}")
        return count

    def device(self, name: str, place: Place) -> tuple[Mapping[str, Any], Place]:
        if name not in self.devices:
            raise self.wrong(place, f"no device {name!r}{hint(name, self.devices, 'devices')}")
        return self.devices[name]

    def parts(self, name: str, prefix: str, place: Place, depth: int = 0) -> Iterator[tuple[str, str]]:
        """(path, choice) of every component of a device, those inside of its devices too."""
        if depth > 8:
            raise self.wrong(place, f"the device {name!r} holds itself, or devices more than 8 deep")
        device, at = self.device(name, place)
        for index, part in enumerate(self.entries(device, "components")):
            for number in range(self.count(part, (*at, "components", index))):
                path = f"{prefix}.{part.get('name')}.{number}"
                if part.get("choice") == "device":
                    yield from self.parts(str(part.get("name")), path, (*at, "components", index), depth + 1)
                else:
                    yield path, str(part.get("choice"))

    def inner_edges(self, name: str, prefix: str, place: Place) -> Iterator[_Edge]:
        device, at = self.device(name, place)
        for index, edge in enumerate(self.entries(device, "edges")):
            where = (*at, "edges", index)
            sides = [self.ends(name, prefix, self.end(edge, side, where), where) for side in ("ep1", "ep2")]
            yield from self.joined(sides, edge, (*at, "links"), where)
        for index, part in enumerate(self.entries(device, "components")):
            if part.get("choice") == "device":
                for number in range(self.counts[name][str(part.get("name"))]):
                    inner = f"{prefix}.{part.get('name')}.{number}"
                    yield from self.inner_edges(str(part.get("name")), inner, (*at, "components", index))

    def end(self, edge: Mapping[str, Any], side: str, place: Place) -> Mapping[str, Any]:
        found = edge.get(side)
        if not isinstance(found, Mapping) or not isinstance(found.get("component"), str):
            raise self.wrong(place, f"the edge lacks {side} with a component")
        return found

    def ends(self, device: str, prefix: str, end: Mapping[str, Any], place: Place) -> list[str]:
        text = str(end["component"])
        if end.get("device"):
            text = f"{end['device']}.{text}"
        found, inside = [prefix], device
        for piece in text.split("."):
            name, indices = self.indices(piece, self.counts.get(inside, {}), place)
            found = [f"{before}.{name}.{index}" for before, index in itertools.product(found, indices)]
            inside = name
        return found

    def indices(self, piece: str, counts: Mapping[str, int], place: Place) -> tuple[str, list[int]]:
        match = re.fullmatch(r"([\w-]+)(?:\[([-0-9:]*)\])?", piece)
        name = match[1] if match else piece
        if match is None or name not in counts:
            raise self.wrong(place, f"no component {piece!r}{hint(name, counts, 'components')}")
        text = match[2] or ":"
        parts = text.split(":")
        try:
            numbers = [int(part) if part else None for part in parts]
            if len(parts) == 1:
                return name, [range(counts[name])[numbers[0] or 0]]
            return name, list(range(*slice(*numbers).indices(counts[name])))
        except (ValueError, IndexError, TypeError) as error:
            raise self.wrong(place, f"{piece!r} is no part of {counts[name]} components, counted from 0") from error

    def joined(self, sides: list[list[str]], edge: Mapping[str, Any], links: Place, place: Place) -> Iterator[_Edge]:
        scheme = edge.get("scheme")
        if scheme == "many2many":
            pairs = list(itertools.product(sides[0], sides[1]))
        elif scheme == "one2one":
            if len(sides[0]) != len(sides[1]):
                raise self.wrong(place, f"one2one joins {len(sides[0])} ends with {len(sides[1])}")
            pairs = list(zip(sides[0], sides[1], strict=True))
        else:
            raise self.wrong(place, f"the scheme {scheme!r} is not read; use many2many or one2one")
        for a, b in pairs:
            if a != b:
                yield _Edge(a, b, str(edge.get("link")), links, place)

    def link(self, edge: _Edge) -> tuple[Mapping[str, Any], Place]:
        holder: Any = self.data
        for key in edge.links[:-1]:
            holder = holder[key]
        for index, link in enumerate(self.entries(holder, "links")):
            if link.get("name") == edge.link:
                return link, (*edge.links, index)
        known = [str(link.get("name")) for link in self.entries(holder, "links")]
        raise self.wrong(edge.place, f"no link {edge.link!r}{hint(edge.link, known, 'links')}")


def infragraph(path: Path, name: str, given: Given) -> Sketch:
    """See the module.

    Raises:
        BadTopology: no infrastructure, one that contradicts itself, or something that must be given; with its line.
    """
    text_of(path)  # for its limit
    graph = _Graph(path)
    names, sketch = Names(), Sketch(name)
    edges: list[_Edge] = []
    kinds: dict[str, tuple[str, str]] = {}
    devices: dict[str, DeviceSpec] = {}
    sizes: dict[str, tuple[str, int]] = {}
    for index, instance in enumerate(graph.entries(graph.data, "instances")):
        place: Place = ("instances", index)
        device, own = str(instance.get("device")), str(instance.get("name"))
        sizes[own] = device, graph.count(instance, place)
        # What an instance holds is the same in all of them, but for its name.
        found, inner = list(graph.parts(device, "", place)), list(graph.inner_edges(device, "", place))
        computes = any(choice == "xpu" for _, choice in found)
        if len(kinds) + sizes[own][1] * len(found) > MAX_VERTICES:
            raise graph.wrong(place, f"more than {MAX_VERTICES} components")
        for number in range(sizes[own][1]):
            prefix = f"{own}.{number}"
            host = names.of(f"{prefix}.host") if computes else ""
            for part, choice in found:
                kinds[prefix + part] = choice, host
            edges += [_Edge(prefix + each.a, prefix + each.b, each.link, each.links, each.place) for each in inner]
    for index, edge in enumerate(graph.entries(graph.data, "edges")):
        place = ("edges", index)
        sides = [_outer(graph, sizes, graph.end(edge, side, place), place) for side in ("ep1", "ep2")]
        edges += graph.joined(sides, edge, ("links",), place)
    for part, (choice, host) in kinds.items():
        if choice == "xpu":
            devices[part] = given.product("gpu", part, graph.document.where(("devices",)))
            product = devices[part].product
            sketch.hosts.setdefault(host, Chassis()).devices[names.of(part)] = (product, None)
        elif host:
            sketch.hosts.setdefault(host, Chassis()).switches.append(names.of(part))
        else:
            sketch.switches.append(names.of(part))
        if choice == "cpu" and host and "cpu" in given.products:
            _processor(graph, sketch.hosts[host], names, part, given)
    if not devices:
        raise graph.wrong(("devices",), "no component xpu in any instance; nothing would compute")
    done: set[tuple[str, str]] = set()
    # A cluster has few kinds of links and many of each.
    known: dict[tuple[object, ...], tuple[SourcedQuantity, SourcedQuantity]] = {}
    ports: dict[tuple[str, str], str] = {}
    for one in edges:
        pair = (one.a, one.b) if one.a < one.b else (one.b, one.a)
        if pair not in done:
            done.add(pair)
            key = one.link, one.links, one.place
            if key not in known:
                known[key] = _quantities(graph, one, given)
            a, b = (_end(graph, one, part, devices, names, ports) for part in (one.a, one.b))
            sketch.links.append(Connection(a, b, *known[key]))
    sketch.notes += unread_keys(graph.document)
    return sketch


def _outer(graph: _Graph, sizes: Mapping[str, tuple[str, int]], end: Mapping[str, Any], place: Place) -> list[str]:
    counts = {name: count for name, (_, count) in sizes.items()}
    name, indices = graph.indices(str(end.get("instance")), counts, place)
    return [each for index in indices for each in graph.ends(sizes[name][0], f"{name}.{index}", end, place)]


def _processor(graph: _Graph, host: Chassis, names: Names, part: str, given: Given) -> None:
    where = graph.document.where(("devices",))
    spec = given.product("cpu", part, where)
    port = first_port(spec, ("pcie",), where)
    device = names.of(f"{part}.cores")
    host.devices[device] = (spec.product, None)
    rate = rate_of(given, "cpu", where, spec.ports[port].read_bytes_per_s, f"the {port} port of {spec.product}")
    host.links.append(Connection(f"{device}.{port}", names.of(part), rate, latency_of(given, "cpu", where)))


def _amount(graph: _Graph, place: Place, physical: object, what: str, scales: Mapping[str, float]) -> float | None:
    """The rate [bytes/s] or latency [s] of a link; None where it has none in a unit that we know."""
    held = (physical.get(what) or {}) if isinstance(physical, Mapping) else physical
    if not isinstance(held, Mapping):
        raise graph.wrong(place, f"its {what} is {held!r}; write one of {', '.join(scales)} with a number")
    key = next((key for key in scales if key in held), None)
    if key is None:
        return None
    value = held[key]
    # YAML reads 1e9 as text, and a truth value counts as a number in Python.
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0.0 <= number * scales[key] < math.inf:
        raise graph.wrong(place, f"its {what} is {value!r} in {key}; write a number of 0 or more")
    return number * scales[key]


def _quantities(graph: _Graph, edge: _Edge, given: Given) -> tuple[SourcedQuantity, SourcedQuantity]:
    """Bandwidth and latency of an edge."""
    link, place = graph.link(edge)
    where = graph.document.where(edge.place)
    physical = link.get("physical") or {}
    source = f"{graph.document.path.name}:{graph.document.line(place)}, link {edge.link}"
    rate = _amount(graph, place, physical, "bandwidth", BANDWIDTHS)
    wait = _amount(graph, place, physical, "latency", LATENCIES)
    return rate_of(given, edge.link, where, rate, source), latency_of(given, edge.link, where, wait, source)


def _end(
    graph: _Graph,
    edge: _Edge,
    part: str,
    devices: Mapping[str, DeviceSpec],
    names: Names,
    ports: dict[tuple[str, str], str],
) -> str:
    """One end of an edge: a switch, or a device with the port that suits the link."""
    text = names.of(part)
    if part not in devices:
        return text
    spec = devices[part]
    kind = "nvlink" if OWN_LINK.search(f"{edge.link} {edge.a} {edge.b}") else ""
    if (spec.product, kind) not in ports:
        known = tuple(port for port in PORTS[kind] if port in spec.ports)
        where = graph.document.where(edge.place)
        ports[spec.product, kind] = first_port(spec, known or PORTS[kind], where)
    return f"{text}.{ports[spec.product, kind]}"
