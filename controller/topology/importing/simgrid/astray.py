"""Routes that a platform lists and that no run would take over the cables that were laid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.topology.importing.markup import Element
from controller.topology.importing.sketch import Connection


@dataclass(frozen=True, slots=True)
class ListedRoute:
    """A route of the platform between two ends, by the names of its links and whether each is taken upwards.

    `own` is one that leaves the way of the others (``bypassRoute``).
    """

    a: str
    b: str
    links: tuple[tuple[str, bool], ...]
    element: Element
    own: bool = False


def routes_astray(
    links: Sequence[Connection], listed: Sequence[ListedRoute], taken: frozenset[str] | set[str]
) -> list[ListedRoute]:
    """Those for which the cables offer a shorter way, another one as long, or none.

    Args:
        links: what was laid.
        listed: routes.
        taken: ends of hosts that have a switch before them, one more link on every route from and to them.
    """
    near: dict[str, list[tuple[str, Connection]]] = {}
    for link in links:
        near.setdefault(link.a, []).append((link.b, link))
        near.setdefault(link.b, []).append((link.a, link))
    by_start: dict[str, list[ListedRoute]] = {}
    for route in listed:
        by_start.setdefault(route.a, []).append(route)
    found = []
    for start, routes in by_start.items():
        ways = _ways_from(start, near)
        for route in routes:
            extra = (route.a in taken) + (route.b in taken)
            if ways.get(route.b) != (len(route.links) + extra, 1):
                found.append(route)
    return found


def _ways_from(start: str, near: dict[str, list[tuple[str, Connection]]]) -> dict[str, tuple[int, int]]:
    """(fewest hops, how many such ways) from an end to every other one, through switches alone."""
    ways, edge = {start: (0, 1)}, [start]
    while edge:
        further: list[str] = []
        for vertex in edge:
            if vertex != start and "." in vertex:
                continue
            hops, count = ways[vertex]
            for other, _ in near.get(vertex, ()):
                if other not in ways:
                    ways[other] = hops + 1, count
                    further.append(other)
                elif ways[other][0] == hops + 1:
                    ways[other] = hops + 1, ways[other][1] + count
        edge = further
    return ways
