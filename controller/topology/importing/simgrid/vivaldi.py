"""A zone whose routing is Vivaldi: the latency between two hosts is the distance of their coordinates.

A host has a link up and one down, as a peer says or its <host_link>, and coordinates: two in the plane and a height
[ms]. A message takes the link up of its source and the link down of its destination, and waits for the distance in the
plane and both heights. So every pair has a link of its own, which passes those of its two hosts.

Paper: Dabek, Cox, Kaashoek and Morris, Vivaldi: A Decentralized Network Coordinate System, SIGCOMM 2004.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from controller.errors import BadTopology
from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.cabling import Cabling
from controller.topology.importing.simgrid.units import bandwidth_of, latency_of_text
from controller.topology.importing.sketch import Connection, SourcedQuantity, rate_of
from node.hardware.units import format_quantity

MAX_HOSTS = 256
"""Most hosts of such a zone: each pair is a link."""
PEER_READ = {"id", "speed", "bw_in", "bw_out", "lat", "coordinates"}


@dataclass(frozen=True, slots=True)
class _Member:
    element: Element
    end: str
    link: str
    wait_s: float
    at: tuple[float, float, float]


def lay_vivaldi_zone(cabling: Cabling, zone: Element) -> None:
    """Lays the links of every host of the zone, and one between every two.

    Raises:
        BadTopology: a host without coordinates or link, or too many of them.
    """
    links = {each.need("id"): each for each in zone.all("host_link")}
    members = [_member(cabling, each, links.get(each.need("id"))) for each in zone.all("host", "peer")]
    if len(members) > MAX_HOSTS:
        raise BadTopology(f"{zone.where}: {len(members)} hosts whose every pair has a distance; at most {MAX_HOSTS}")
    for a, b in itertools.combinations(members, 2):
        plane_ms = math.dist(a.at[:2], b.at[:2])
        wait_s = math.fsum([(plane_ms + a.at[2] + b.at[2]) / 1e3, a.wait_s, b.wait_s])
        source = f"{zone.path.name}:{a.element.line} and {b.element.line}, the distance of their coordinates"
        wait = SourcedQuantity(format_quantity(wait_s, "s"), "datasheet", source)
        passes = (f"{a.link}>", f"{b.link}<")
        label = cabling.names.of(f"{a.end.partition('.')[0]} {b.end.partition('.')[0]}")
        cabling.sketch.links.append(Connection(a.end, b.end, None, wait, name=label, passes=passes))


def _member(cabling: Cabling, element: Element, link: Element | None) -> _Member:
    name = element.need("id")
    end = cabling.ends[name]
    label = cabling.names.of(f"{name} link")
    away = cabling.switch(f"{name} away")
    if element.tag == "peer":
        rates = [bandwidth_of(element.need(side), element) for side in ("bw_out", "bw_in")]
        wait_s = latency_of_text(element.attributes.get("lat", "0"), element)
    elif link is not None:
        halves = [cabling.whole(link.need(side))[0] for side in ("up", "down")]
        missing = next((half for half in halves if half not in cabling.links), None)
        if missing is not None:
            raise BadTopology(f"{link.where}: no link {missing!r} is declared before this line")
        declared = [cabling.links[half] for half in halves]
        rates = [bandwidth_of(each.need("bandwidth"), each) for each in declared]
        waits = [latency_of_text(each.attributes.get("latency", "0"), each) for each in declared]
        if waits[0] != waits[1]:
            raise BadTopology(f"{link.where}: the way up takes {waits[0]:g} s and the way down {waits[1]:g} s")
        wait_s = waits[0]
    else:
        raise BadTopology(f"{element.where}: the host {name!r} has no <host_link>, so nothing says how fast it sends")
    source = f"{element.path.name}:{element.line}"
    up, down = (rate_of(cabling.given, name, element.where, rate, source) for rate in rates)
    nothing = SourcedQuantity("0 s", "assumed", "paid by the links between hosts")
    cabling.sketch.links.append(Connection(end, away, up, nothing, down, label))
    return _Member(element, end, label, wait_s, _coordinates(element))


def _coordinates(element: Element) -> tuple[float, float, float]:
    words = element.need("coordinates").split()
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if len(found) != 3 or not all(map(math.isfinite, found)) or found[2] < 0:
        given = element.need("coordinates")
        raise BadTopology(f"{element.where}: coordinates={given!r}; write two in the plane and a height, in ms")
    return found[0], found[1], found[2]
