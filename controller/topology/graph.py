"""Routes between devices: fewest hops, then least latency, then dimensions of a torus in order, then the first names.

A route passes through switches only. A device ends it: a GPU with a PCIe port and an NVLink port is no bridge between
the two, and a CPU forwards nothing, since the root complex it holds is declared as a switch (``root``).
"""

from __future__ import annotations

import heapq
import math
from functools import lru_cache

from controller.errors import NoRoute, UnknownDevice
from controller.topology.nearest import hint
from controller.topology.schema import Hop, Route, Topology

HERE = Route((), 0.0)
"""The route from a device to itself."""

MAX_PATHS = 1024
"""Most equal paths between two devices that are kept, the first by name: a torus has more than anybody could list."""

SAME_LATENCY = 1e-12
"""Paths whose latencies differ by less, relative to the sum, are equal: sums in another order round differently."""


class Routes:
    """All routes of one topology, searched when first asked for and kept."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._switches = frozenset(topology.switches)
        self._has_dimensions = any(link.dimension >= 0 for link in topology.links)
        self._hops: dict[str, list[tuple[str, Hop]]] = {name: [] for name in (*topology.devices, *topology.switches)}
        # The same, those to switches and those to each device apart.
        self._inner: dict[str, list[tuple[str, Hop]]] = {name: [] for name in self._hops}
        self._outer: dict[tuple[str, str], list[tuple[str, Hop]]] = {}
        for link in topology.links:
            for hop in (Hop(link, True), Hop(link, False)):
                tail, head = hop.tail.vertex, hop.head.vertex
                self._hops[tail].append((head, hop))
                if head in self._switches:
                    self._inner[tail].append((head, hop))
                else:
                    self._outer.setdefault((tail, head), []).append((head, hop))
        self._found: dict[tuple[str, str], Route] = {}
        self._paths: dict[tuple[str, str], tuple[Route, ...]] = {}
        self._hops_to: dict[str, dict[str, int]] = {}

    def route(self, a: str, b: str) -> Route:
        """The route from device `a` to device `b`; the way back takes the same links, but in a torus.

        Raises:
            UnknownDevice: the topology has no device of one of the names.
            NoRoute: no chain of links and switches joins them.
        """
        if (a, b) not in self._found:
            for name in (a, b):
                if name not in self._topology.devices:
                    raise UnknownDevice(f"no device {name!r}{hint(name, self._topology.devices, 'devices')}")
            if self._has_dimensions:
                hops = self._search(a, b)
                self._found[a, b] = Route(hops, math.fsum(hop.link.latency_s for hop in hops)) if hops else HERE
                return self._found[a, b]
            # One direction decides for both, or a tie could be broken differently on the way back.
            hops = self._search(min(a, b), max(a, b))
            latency_s = math.fsum(hop.link.latency_s for hop in hops)
            back = tuple(Hop(hop.link, not hop.forward) for hop in reversed(hops))
            self._found[min(a, b), max(a, b)] = Route(hops, latency_s) if hops else HERE
            self._found[max(a, b), min(a, b)] = Route(back, latency_s) if hops else HERE
        return self._found[a, b]

    def paths(self, a: str, b: str) -> tuple[Route, ...]:
        """Every route from device `a` to device `b` that costs as little as `route`: as many hops, the same latency.

        Returns:
            At most `MAX_PATHS` of them, in the order of the names of their links; `HERE` alone within one device.

        Raises:
            UnknownDevice, NoRoute: as `route`.
        """
        if (a, b) not in self._paths:
            best = self.route(a, b)
            self._paths[a, b] = self._equal_paths(a, b, best) if best.hops else (HERE,)
        return self._paths[a, b]

    def _equal_paths(self, start: str, goal: str, best: Route) -> tuple[Route, ...]:
        distance = self._distances(goal)
        most_s = best.latency_s * (1.0 + SAME_LATENCY)
        found: list[Route] = []
        # Depth first, the first names last on the stack: paths come in the order of their links' names.
        stack: list[tuple[str, tuple[Hop, ...]]] = [(start, ())]
        while stack and len(found) < MAX_PATHS:
            vertex, hops = stack.pop()
            if vertex == goal:
                latency_s = math.fsum(hop.link.latency_s for hop in hops)
                if latency_s <= most_s:
                    found.append(Route(hops, latency_s))
                continue
            near = [
                (hop.link.name, head, hop)
                for head, hop in self._hops[vertex]
                if distance.get(head, -1) == distance[vertex] - 1
            ]
            near.sort(key=lambda item: item[0], reverse=True)
            stack += [(head, (*hops, hop)) for _, head, hop in near]
        return tuple(found)

    def _distances(self, goal: str) -> dict[str, int]:
        """Hops to `goal` from every vertex that reaches it through switches."""
        if goal not in self._hops_to:
            found = {goal: 0}
            ring = [goal]
            while ring:
                further: list[str] = []
                for vertex in ring:
                    if vertex != goal and vertex not in self._switches:
                        continue
                    for head, _ in self._hops[vertex]:
                        if head not in found:
                            found[head] = found[vertex] + 1
                            further.append(head)
                ring = further
            self._hops_to[goal] = found
        return self._hops_to[goal]

    def _search(self, start: str, goal: str) -> tuple[Hop, ...]:
        """Uniform-cost search; the cost orders by hops, latency, dimensions, names and so leaves no ties."""
        frontier: list[tuple[int, float, tuple[int, ...], tuple[str, ...], int, str, tuple[Hop, ...]]]
        frontier = [(0, 0.0, (), (), 0, start, ())]
        sequence = 0
        done: set[str] = set()
        while frontier:
            count, latency_s, dimensions, names, _, vertex, hops = heapq.heappop(frontier)
            if vertex == goal:
                return hops
            if vertex in done or (vertex != start and vertex not in self._switches):
                continue
            done.add(vertex)
            # Any other device would only be taken out again, and a switch may have thousands of them.
            for head, hop in (*self._inner[vertex], *self._outer.get((vertex, goal), ())):
                if head not in done:
                    sequence += 1
                    order = (*dimensions, hop.link.dimension) if self._has_dimensions else ()
                    cost = (count + 1, latency_s + hop.link.latency_s, order, (*names, hop.link.name), sequence)
                    heapq.heappush(frontier, (*cost, head, (*hops, hop)))
        raise NoRoute(self._no_route(start, goal))

    def _no_route(self, a: str, b: str) -> str:
        bare = [name for name in (a, b) if not self._hops[name]]
        why = f"{' and '.join(bare)} has no link at all" if bare else "no chain of links and switches joins them"
        return f"no route from {a} to {b} in {self._topology.name}: {why}; declare a link with their ports as ends"


class _Identity:
    """A topology as a cache key: by identity, since it holds mappings and cannot be hashed."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def __hash__(self) -> int:
        return id(self.topology)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.topology is self.topology


@lru_cache(maxsize=8)
def _routes_of(key: _Identity) -> Routes:
    return Routes(key.topology)


def routes_of(topology: Topology) -> Routes:
    """The routes of `topology`, one object for all who ask."""
    return _routes_of(_Identity(topology))


def route(topology: Topology, a: str, b: str) -> Route:
    """The route from device `a` to device `b`, remembered for each topology; see `Routes.route`.

    Raises:
        UnknownDevice: the topology has no device of one of the names.
        NoRoute: no chain of links and switches joins them.
    """
    return routes_of(topology).route(a, b)
