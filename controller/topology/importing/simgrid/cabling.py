"""Cables of a platform: laid along its routes, and checked against them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.errors import BadTopology
from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.units import bandwidth_of, latency_of_text
from controller.topology.importing.sketch import Connection, Given, Names, Sketch, SourcedQuantity, rate_of
from node.hardware.units import format_quantity, parse

DUPLEX = ("SPLITDUPLEX", "FULLDUPLEX")
"""Policies whose directions do not share; the second is the older name of the first."""


@dataclass(frozen=True, slots=True)
class ListedRoute:
    """A route of the platform between two ends, by the names of its links."""

    a: str
    b: str
    links: tuple[str, ...]
    element: Element


class Cabling:
    """What joins what.

    Attributes:
        ends: of a topology by host or router of the platform: ``device.port`` or a switch.
        links: of the platform by name.
        forwards: ends of hosts that routes may pass.
    """

    def __init__(self, sketch: Sketch, names: Names, given: Given) -> None:
        self.sketch, self.names, self.given = sketch, names, given
        self.ends: dict[str, str] = {}
        self.links: dict[str, Element] = {}
        self.forwards: set[str] = set()
        self._meeting: dict[str, tuple[str, str]] = {}
        self._fat: list[int] = []
        self._waiting: list[ListedRoute] = []
        self._listed: list[ListedRoute] = []
        self._taken: set[str] = set()

    def switch(self, name: str) -> str:
        """The switch that stands for a router."""
        if name not in self.ends:
            self.ends[name] = self.names.of(name)
            self.sketch.switches.append(self.ends[name])
        return self.ends[name]

    def whole(self, link: str) -> str:
        """The link of a direction: one that is SPLITDUPLEX may be called by its halves, ``l_UP`` and ``l_DOWN``."""
        base, _, half = link.rpartition("_")
        duplex = half in ("UP", "DOWN") and base in self.links and link not in self.links
        return base if duplex else link

    def connect(
        self, a: str, b: str, element: Element, name: str, rate: str, latency: str, policy: str, label: str = ""
    ) -> None:
        """Lays a cable.

        Raises:
            BadTopology: a policy that no cable has, or no quantity.
        """
        source = f"{element.path.name}:{element.line}, {rate}"
        shared = policy.upper() == "SHARED"
        if policy.upper() == "FATPIPE":
            raise BadTopology(
                f"{element.where}: {name!r} is a FATPIPE, which limits every flow alone, and every link here is shared "
                f"by its flows; make it SPLITDUPLEX with what all its flows take together"
            )
        if not shared and policy.upper() not in DUPLEX:
            raise BadTopology(
                f"{element.where}: {name!r} has the sharing policy {policy}, which no link here has; use SHARED or "
                f"SPLITDUPLEX"
            )
        if shared:
            source += " for both directions together"
        bandwidth = rate_of(self.given, name, element.where, bandwidth_of(rate, element), source)
        seconds = latency_of_text(latency, element)
        wait = SourcedQuantity(format_quantity(seconds, "s"), "datasheet", f"{element.path.name}:{element.line}")
        self.sketch.links.append(Connection(a, b, bandwidth, wait, name=label, shared=shared))

    def use(self, a: str, b: str, link: str, element: Element) -> None:
        """Lays the cable `link` between two ends, unless it lies there.

        Raises:
            BadTopology: no such link, or it lies elsewhere.
        """
        name = link
        if link in self._meeting and {a, b} != set(self._meeting[link]) and "." not in a + b and self._is_fat(link):
            # What limits each flow alone is not shared: it may lie in several places.
            name = f"{link} {a} {b}"
        if name in self._meeting:
            x, y = self._meeting[name]
            if {x, y} != {a, b}:
                raise BadTopology(
                    f"{element.where}: the link {link!r} joins {x} and {y} already; "
                    f"one that many routes share is not a cable: declare the cluster by hand"
                )
            return
        self._meeting[name] = a, b
        declared = self.links[link]
        attributes = declared.attributes
        rate, wait = declared.need("bandwidth"), attributes.get("latency", "0")
        policy = attributes.get("sharing_policy", "SHARED")
        if policy.upper() == "FATPIPE" and "." not in a + b:
            self._fat.append(len(self.sketch.links))
            policy = "SPLITDUPLEX"
        self.connect(a, b, declared, link, rate, wait, policy, self.names.of(name))

    def route(self, a: str, b: str, links: Iterable[str], element: Element) -> None:
        """Takes a listed route: a cable at once where it is one link.

        Raises:
            BadTopology: a link that is not declared, or no link at all.
        """
        listed = ListedRoute(a, b, tuple(links), element)
        for link in listed.links:
            if link not in self.links:
                raise BadTopology(f"{element.where}: no link {link!r} is declared before this line")
        if not listed.links:
            raise BadTopology(f"{element.where}: a route without links; name them with <link_ctn id=.../>")
        self._listed.append(listed)
        if len(listed.links) == 1:
            self.use(a, b, listed.links[0], element)
        else:
            self._waiting.append(listed)

    def settle(self) -> None:
        """Lays the cables of longer routes, each as soon as the others say where it ends; then checks every route.

        Raises:
            BadTopology: routes that are not those of cables.
        """
        while self._waiting:
            left = [route for route in self._waiting if not self._lay(route)]
            if left and len(left) == len(self._waiting):
                # Nothing else says where the first two cables of this route meet, so it is a switch of their own.
                short = self._shortened(left[0])
                middle = self.switch(f"meet_{short.links[0]}_{short.links[1]}")
                self.use(short.a, middle, short.links[0], short.element)
            self._waiting = left
        self._widen_fat_pipes()
        self._one_way_each_way()
        self._let_hosts_forward()
        self._same_way_as_listed()

    def _is_fat(self, link: str) -> bool:
        return self.links[link].attributes.get("sharing_policy", "").upper() == "FATPIPE"

    def _widen_fat_pipes(self) -> None:
        """Gives a link that limits each flow alone, and none at all, what all hosts together can send.

        Raises:
            BadTopology: one that a flow alone would feel.
        """
        if not self._fat:
            return
        fat = set(self._fat)
        rates = [
            (parse(link.bandwidth.text, "bytes/s"), link.bandwidth.text)
            for index, link in enumerate(self.sketch.links)
            if index not in fat and "." in link.a + link.b
        ]
        whole = sum(rate for rate, _ in rates)
        for index in self._fat:
            link = self.sketch.links[index]
            own = parse(link.bandwidth.text, "bytes/s")
            fastest = max(rates, default=(0.0, ""))
            if fastest[0] > own:
                where = link.bandwidth.source.partition(",")[0]
                raise BadTopology(
                    f"{where}: {link.name!r} is a FATPIPE of {link.bandwidth.text}, which limits every flow alone, and "
                    f"a host here sends {fastest[1]}; every link here is shared by its flows: make it SPLITDUPLEX with "
                    f"what all its flows take together"
                )
            source = f"{link.bandwidth.source} for each flow, which no host reaches: the sum of all hosts"
            wide = SourcedQuantity(format_quantity(max(whole, own), "bytes/s"), link.bandwidth.kind, source)
            self.sketch.links[index] = replace(link, bandwidth=wide)

    def _lay(self, route: ListedRoute) -> bool:
        """Whether the route is all cables now."""
        short = self._shortened(route)
        if len(short.links) == 1:
            self.use(short.a, short.b, short.links[0], short.element)
        elif not short.links and short.a != short.b:
            raise BadTopology(
                f"{route.element.where}: the cables of this route lie already, and end at {short.a}, not at {short.b}"
            )
        return len(short.links) < 2

    def _shortened(self, route: ListedRoute) -> ListedRoute:
        """A route without the cables at its ends that lie already."""
        a, b, links = route.a, route.b, list(route.links)
        while links and self._other_end(links[0], a):
            a = self._other_end(links.pop(0), a)
        while links and self._other_end(links[-1], b):
            b = self._other_end(links.pop(), b)
        return ListedRoute(a, b, tuple(links), route.element)

    def _other_end(self, link: str, end: str) -> str:
        """Where a cable that lies ends, seen from `end`; "" when it does not lie there."""
        joined = self._meeting.get(link, ())
        return next((other for other in joined if other != end), "") if end in joined else ""

    def _one_way_each_way(self) -> None:
        """Refuses routes whose way back is another: a cable is passed in both directions."""
        one_way = {
            (route.a, route.b): route
            for route in self._listed
            if route.element.attributes.get("symmetrical", "YES").upper() in ("NO", "FALSE")
        }
        for (a, b), route in one_way.items():
            back = one_way.get((b, a))
            if back is not None and back.links != route.links[::-1]:
                raise BadTopology(
                    f"{back.element.where}: the way back from {b} to {a} takes other links than the way there in line "
                    f"{route.element.line}; give both directions of a cable as one link with SPLITDUPLEX"
                )
            if back is None:
                self.sketch.notes.append("symmetrical=NO of routes without one back, which here exists")

    def _let_hosts_forward(self) -> None:
        """Gives a host that routes pass a switch before it, through which its links go."""
        hosts = {end for end in self.ends.values() if "." in end}
        through = {end for end in self.forwards if end in hosts}
        for route in self._listed:
            at = route.a
            for link in route.links[:-1]:
                at = self._other_end(link, at)
                if at in hosts:
                    through.add(at)
        for end in sorted(through):
            mine = [index for index, link in enumerate(self.sketch.links) if end in (link.a, link.b)]
            if len(mine) < 2:
                continue
            device = end.partition(".")[0]
            switch = self.switch(f"{device}_router")
            wide = sum(parse(self.sketch.links[index].bandwidth.text, "bytes/s") for index in mine)
            for index in mine:
                cable = self.sketch.links[index]
                ends = [switch if each == end else each for each in (cable.a, cable.b)]
                self.sketch.links[index] = replace(cable, a=ends[0], b=ends[1])
            why = "hosts of a platform forward; as wide as its links together, and no time"
            self.sketch.links.append(
                Connection(
                    end,
                    switch,
                    SourcedQuantity(format_quantity(wide, "bytes/s"), "assumed", why),
                    SourcedQuantity("0 s", "assumed", why),
                )
            )
            self._taken.add(end)

    def _same_way_as_listed(self) -> None:
        """Refuses a listed route that is longer than the way that the cables offer, which is what a run takes."""
        near: dict[str, list[str]] = {}
        for link in self.sketch.links:
            near.setdefault(link.a, []).append(link.b)
            near.setdefault(link.b, []).append(link.a)
        by_start: dict[str, list[ListedRoute]] = {}
        for route in self._listed:
            if len(route.links) > 1:
                by_start.setdefault(route.a, []).append(route)
        for start, routes in by_start.items():
            hops = _hops_from(start, near)
            for route in routes:
                extra = (route.a in self._taken) + (route.b in self._taken)
                shortest = hops.get(route.b, len(route.links) + extra)
                if shortest < len(route.links) + extra:
                    raise BadTopology(
                        f"{route.element.where}: the route takes {len(route.links)} links where the cables offer a way "
                        f"of {shortest - extra}, which a run would take; declare the cluster by hand"
                    )


def _hops_from(start: str, near: dict[str, list[str]]) -> dict[str, int]:
    """Fewest hops from an end to every other one, through switches alone."""
    hops, edge = {start: 0}, [start]
    while edge:
        further: list[str] = []
        for vertex in edge:
            if vertex != start and "." in vertex:
                continue
            for other in near.get(vertex, ()):
                if other not in hops:
                    hops[other] = hops[vertex] + 1
                    further.append(other)
        edge = further
    return hops
