"""A zone whose routing is Cluster (or Star): every host has a link up and one down to the middle of the zone.

Such a zone lists its hosts and their ``host_link``, or cabinets of hosts that are alike, a router that others go by,
and a backbone that all pass once.
"""

from __future__ import annotations

import math

from controller.errors import BadTopology
from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.backbone import backbone_of_zone
from controller.topology.importing.simgrid.cabling import DUPLEX, Cabling
from controller.topology.importing.simgrid.cluster import cluster_name, radical_of
from controller.topology.importing.simgrid.units import bandwidth_of, latency_of_text
from controller.topology.importing.sketch import Connection, SourcedQuantity, rate_of
from node.hardware.units import format_quantity

ROUTINGS = ("cluster", "star")


def lay_star_zone(cabling: Cabling, zone: Element, ends: dict[str, str]) -> None:
    """Lays the cables of every host of the zone.

    Args:
        cabling: where.
        zone: the element; its hosts and links are known already.
        ends: of the hosts of cabinets, by the name in the file.

    Raises:
        BadTopology: a host without a link, a link that is not declared, or a backbone that holds the hosts up.
    """
    backbone = backbone_of_zone(next(zone.all("backbone"), None))
    half_s = backbone.half_s if backbone is not None else 0.0
    router = next(zone.all("router"), None)
    name = router.need("id") if router is not None else f"{zone.need('id')}_router"
    passes: tuple[str, ...] = ()
    if backbone is None:
        middle = cabling.switch(name)
    else:
        passed = backbone.holds_up(*_rates(cabling, zone))
        middle, passes = backbone.lay(cabling, name, passed=passed)
    joined: set[str] = set()
    for link in zone.all("host_link"):
        name = link.need("id")
        if name not in cabling.ends:
            raise BadTopology(f"{link.where}: no host {name!r} is declared in the zone")
        joined.add(name)
        _lay_host_link(cabling, cabling.ends[name], middle, link, half_s, passes)
    for cabinet in zone.all("cabinet"):
        rate, wait = cabinet.need("bw"), latency_of_text(cabinet.need("lat"), cabinet) + half_s
        for number in radical_of(cabinet):
            name = cluster_name(cabinet, number)
            text = f"{wait:.17g}s"
            cabling.connect(ends[name], middle, cabinet, cabinet.need("id"), rate, text, "SPLITDUPLEX", passes=passes)
    lonely = next((host for host in zone.all("host") if host.need("id") not in joined), None)
    if lonely is not None:
        raise BadTopology(f"{lonely.where}: the host {lonely.need('id')!r} has no <host_link> to the zone; give it one")


def _rates(cabling: Cabling, zone: Element) -> tuple[float, float]:
    """(fastest host, all hosts together) of what hosts send or receive [bytes/s]."""
    rates = [0.0]
    for link in zone.all("host_link"):
        halves = [cabling.whole(link.need(side))[0] for side in ("up", "down")]
        declared = [cabling.links[name] for name in halves if name in cabling.links]
        rates.append(max((bandwidth_of(each.need("bandwidth"), each) for each in declared), default=0.0))
    for cabinet in zone.all("cabinet"):
        rates += [bandwidth_of(cabinet.need("bw"), cabinet)] * len(radical_of(cabinet))
    return max(rates), math.fsum(rates)


def _lay_host_link(
    cabling: Cabling, end: str, middle: str, link: Element, half_s: float, passes: tuple[str, ...]
) -> None:
    """Lays the cable of one host."""
    pair = [cabling.whole(link.need(side))[0] for side in ("up", "down")]
    for name in pair:
        if name not in cabling.links:
            raise BadTopology(f"{link.where}: no link {name!r} is declared before this line")
    up, down = (cabling.links[name] for name in pair)
    waits = [latency_of_text(each.attributes.get("latency", "0"), each) for each in (up, down)]
    if waits[0] != waits[1]:
        raise BadTopology(
            f"{link.where}: the way up takes {waits[0]:g} s and the way down {waits[1]:g} s, which no cable does; "
            f"give both the same latency"
        )
    rate, wait = up.need("bandwidth"), f"{waits[0] + half_s:.17g}s"
    policies = [each.attributes.get("sharing_policy", "SHARED").upper() for each in (up, down)]
    if pair[0] == pair[1]:
        cabling.connect(end, middle, up, pair[0], rate, wait, policies[0], passes=passes)
        return
    # Two links of one direction each: nothing is shared between the two ways.
    for each, policy in zip((up, down), policies, strict=True):
        if policy not in ("SHARED", *DUPLEX):
            raise BadTopology(f"{each.where}: the sharing policy {policy} is not that of a cable; use SHARED")
    source = f"{up.path.name}:{up.line} and {down.line}"
    there, back = (
        rate_of(cabling.given, name, each.where, bandwidth_of(each.need("bandwidth"), each), source)
        for name, each in zip(pair, (up, down), strict=True)
    )
    latency = SourcedQuantity(format_quantity(waits[0] + half_s, "s"), "datasheet", source)
    cabling.sketch.links.append(Connection(end, middle, there, latency, backward=back, passes=passes))
