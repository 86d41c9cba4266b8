"""A dragonfly of SimGrid: groups of chassis of blades, one router a blade.

The routers of a chassis are joined each with each (green), those of one place in all chassis of a group too (black),
and router b of the first chassis of group g has the cable to group b (blue). A route takes green before black.

Paper: Kim et al., Technology-Driven, Highly-Scalable Dragonfly Topology, ISCA 2008; the colours are Cray's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from controller.errors import BadTopology
from controller.topology.importing.markup import Element

GREEN, BLACK, BLUE = range(3)
"""Dimensions of links, in the order in which a route takes them within a group."""


def dragonfly_sizes(element: Element, parts: Sequence[tuple[int, ...]], hosts: int) -> tuple[tuple[int, ...], ...]:
    """(groups, chassis, blades, nodes of a blade) and (blue, black, green) cables side by side.

    Args:
        element: the cluster.
        parts: of ``topo_parameters``, as in ``3,4;4,3;5,1;2``.
        hosts: how many the cluster has.

    Raises:
        BadTopology: not such a list, another number of hosts, or more groups than a chassis has blades.
    """
    given = element.need("topo_parameters")
    if [len(part) for part in parts] != [2, 2, 2, 1]:
        raise BadTopology(
            f"{element.where}: topo_parameters={given!r} is no dragonfly; write for example 3,4;4,3;5,1;2"
        )
    (groups, blue), (chassis, black), (blades, green), (nodes,) = parts
    if groups * chassis * blades * nodes != hosts:
        raise BadTopology(f"{element.where}: a dragonfly of {given} has not {hosts} hosts")
    if groups > blades:
        raise BadTopology(
            f"{element.where}: {groups} groups of chassis with {blades} blades; the cable to each group starts at a "
            f"blade of the first chassis, so that a chassis needs as many"
        )
    return (groups, chassis, blades, nodes), (blue, black, green)


def lay_dragonfly(
    routers: Sequence[str], hosts: Sequence[str], sizes: Sequence[int], cables: Sequence[int], wire: Callable[..., None]
) -> None:
    """Lays every cable.

    Args:
        routers: switches, group by group, chassis by chassis.
        hosts: ends, in the order of their routers.
        sizes, cables: as `dragonfly_sizes` gives them.
        wire: lays a cable between two ends, `copies` times as wide, in a dimension.
    """
    groups, chassis, blades, nodes = sizes
    blue, black, green = cables
    for index, end in enumerate(hosts):
        wire(end, routers[index // nodes])

    def at(group: int, cabinet: int, blade: int) -> str:
        return routers[(group * chassis + cabinet) * blades + blade]

    for group in range(groups):
        for cabinet in range(chassis):
            for one, other in itertools.combinations(range(blades), 2):
                wire(at(group, cabinet, one), at(group, cabinet, other), green, dimension=GREEN)
        for blade in range(blades):
            for one, other in itertools.combinations(range(chassis), 2):
                wire(at(group, one, blade), at(group, other, blade), black, dimension=BLACK)
    for one, other in itertools.combinations(range(groups), 2):
        wire(at(one, 0, other), at(other, 0, one), blue, dimension=BLUE)
