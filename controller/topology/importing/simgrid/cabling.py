"""Cables of a platform: laid along its routes, and checked against them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from controller.errors import BadTopology
from controller.topology.importing.markup import Element
from controller.topology.importing.simgrid.astray import ListedRoute, routes_astray
from controller.topology.importing.simgrid.units import bandwidth_of, latency_of_text
from controller.topology.importing.sketch import Connection, Given, Names, Sketch, SourcedQuantity, rate_of
from node.hardware.units import format_quantity, parse

DUPLEX = ("SPLITDUPLEX", "FULLDUPLEX")
"""Policies whose directions do not share; the second is the older name of the first."""
MOST_LINKS = 40_000
"""Most links that are written one by one."""


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
        self._waiting: list[ListedRoute] = []
        self._listed: list[ListedRoute] = []
        self._pairs: dict[tuple[str, str], ListedRoute] = {}
        self._own: list[ListedRoute] = []
        self._taken: set[str] = set()
        self._places: set[tuple[str, str, str]] = set()

    def switch(self, name: str) -> str:
        """The switch that stands for a router."""
        if name not in self.ends:
            self.ends[name] = self.names.of(name)
            self.sketch.switches.append(self.ends[name])
        return self.ends[name]

    def whole(self, link: str) -> tuple[str, bool]:
        """The link of a direction and whether it is upwards: SPLITDUPLEX has two halves, ``l_UP`` and ``l_DOWN``."""
        base, _, half = link.rpartition("_")
        duplex = half in ("UP", "DOWN") and base in self.links and link not in self.links
        return (base, half == "UP") if duplex else (link, True)

    def connect(
        self, a: str, b: str, element: Element, name: str, rate: str, latency: str, policy: str, label: str = "",
        passes: tuple[str, ...] = (), dimension: int = -1,
    ) -> None:  # fmt: skip
        """Lays a cable.

        Raises:
            BadTopology: a policy that no cable has, or no quantity.
        """
        source = f"{element.path.name}:{element.line}, {rate}"
        shared, alone = policy.upper() == "SHARED", policy.upper() == "FATPIPE"
        if not shared and not alone and policy.upper() not in DUPLEX:
            raise BadTopology(
                f"{element.where}: {name!r} has the sharing policy {policy}, which no link here has; use SHARED, "
                f"SPLITDUPLEX or FATPIPE"
            )
        if shared or alone:
            source += " for both directions together" if shared else " for each flow"
        bandwidth = rate_of(self.given, name, element.where, bandwidth_of(rate, element), source)
        seconds = latency_of_text(latency, element)
        wait = SourcedQuantity(format_quantity(seconds, "s"), "datasheet", f"{element.path.name}:{element.line}")
        cable = Connection(a, b, bandwidth, wait, None, label, shared, alone, passes, dimension)
        self.sketch.links.append(cable)

    def use(self, a: str, b: str, link: str, element: Element, upwards: bool = True) -> None:
        """Lays the cable `link` between two ends, unless it lies there.

        One that lies elsewhere is a bus: the way between these ends is a link that passes it.
        """
        lies = self._meeting.get(link)
        if lies is not None and {a, b} == set(lies):
            return
        declared = self.links[link]
        if lies is not None:
            if (link, a, b) not in self._places and (link, b, a) not in self._places:
                self._places.add((link, a, b))
                self.pass_by(a, b, ((link, upwards),), declared, self.names.of(f"{link} {a} {b}"))
            return
        self._meeting[link] = (a, b) if upwards else (b, a)
        rate, wait = declared.need("bandwidth"), declared.attributes.get("latency", "0")
        policy = declared.attributes.get("sharing_policy", "SHARED")
        self.connect(*self._meeting[link], declared, link, rate, wait, policy, self.names.of(link))

    def pass_by(self, a: str, b: str, links: tuple[tuple[str, bool], ...], element: Element, label: str) -> None:
        """A link of its own that passes `links`, which lie elsewhere, or between two ends of nothing."""
        waits = [
            latency_of_text(self.links[link].attributes.get("latency", "0"), self.links[link]) for link, _ in links
        ]
        for link, upwards in links:
            if link not in self._meeting:
                ends = [self.switch(f"{link} {side}") for side in ("start", "end")]
                self.use(ends[0], ends[1], link, element, upwards)
        passes = tuple(f"{self.names.of(link)}{'>' if upwards else '<'}" for link, upwards in links)
        source = f"{element.path.name}:{element.line}"
        wait = SourcedQuantity(format_quantity(math.fsum(waits), "s"), "datasheet", source)
        self.sketch.links.append(Connection(a, b, None, wait, name=label, passes=passes))
        if len(self.sketch.links) > MOST_LINKS:
            raise BadTopology(
                f"{element.where}: more than {MOST_LINKS} links, since every route is one of its own; declare the "
                f"cluster by hand"
            )

    def route(self, a: str, b: str, links: Iterable[tuple[str, bool]], element: Element, *, own: bool = False) -> None:
        """Takes a listed route: a cable at once where it is one link.

        Raises:
            BadTopology: a link that is not declared, or no link at all.
        """
        listed = ListedRoute(a, b, tuple(links), element, own)
        for link, _ in listed.links:
            if link not in self.links:
                raise BadTopology(f"{element.where}: no link {link!r} is declared before this line")
        if not listed.links:
            raise BadTopology(f"{element.where}: a route without links; name them with <link_ctn id=.../>")
        self._listed.append(listed)

    def settle(self) -> None:
        """Lays the cables of longer routes, each as soon as the others say where it ends; then checks every route.

        Raises:
            BadTopology: routes that are not those of cables.
        """
        bypassed = {frozenset((route.a, route.b)) for route in self._listed if route.own}
        self._listed = [route for route in self._listed if route.own or frozenset((route.a, route.b)) not in bypassed]
        self._own = [route for route in self._listed if route.own]
        for route in self._listed:
            if len(route.links) == 1 and not route.own:
                self.use(route.a, route.b, route.links[0][0], route.element, route.links[0][1])
            elif not route.own:
                self._waiting.append(route)
        while self._waiting:
            left = [route for route in self._waiting if not self._lay(route)]
            if left and len(left) == len(self._waiting):
                # Nothing else says where the first two cables of this route meet, so it is a switch of their own.
                short = self._shortened(left[0])
                if short.links[0][0] in self._meeting:
                    # It lies elsewhere: the route gets a link of its own in the end.
                    left.pop(0)
                    self._waiting = left
                    continue
                middle = self.switch(f"meet_{short.links[0][0]}_{short.links[1][0]}")
                self.use(short.a, middle, short.links[0][0], short.element, short.links[0][1])
            self._waiting = left
        self._one_way_each_way()
        self._let_hosts_forward()
        self._lay_own()

    def _lay_own(self) -> None:
        """Gives a link of its own to every route that the cables do not take.

        Raises:
            BadTopology: one that ends at a router, where others would take that link too.
        """
        own = {id(route) for route in self._own}
        astray = routes_astray(self.sketch.links, [each for each in self._listed if id(each) not in own], self._taken)
        for route in (*self._own, *astray):
            if not all("." in end for end in (route.a, route.b)) and not route.own:
                raise BadTopology(
                    f"{route.element.where}: the cables of the other routes offer another way than this one, which a "
                    f"run would take; declare the cluster by hand"
                )
            label = self.names.of(f"{' '.join(link for link, _ in route.links)} {route.a} {route.b}")
            self.pass_by(route.a, route.b, route.links, route.element, label)

    def _lay(self, route: ListedRoute) -> bool:
        """Whether the route needs no more cables."""
        short = self._shortened(route)
        if len(short.links) == 1 and short.a != short.b:
            self.use(short.a, short.b, short.links[0][0], short.element, short.links[0][1])
        return len(short.links) < 2 or short.a == short.b or all(link in self._meeting for link, _ in short.links)

    def _shortened(self, route: ListedRoute) -> ListedRoute:
        """A route without the cables at its ends that lie already."""
        a, b, links = route.a, route.b, list(route.links)
        while links and self._other_end(links[0][0], a):
            a = self._other_end(links.pop(0)[0], a)
        while links and self._other_end(links[-1][0], b):
            b = self._other_end(links.pop()[0], b)
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
            if back is not None and [link for link, _ in back.links] != [link for link, _ in route.links[::-1]]:
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
            for link, _ in route.links[:-1]:
                at = self._other_end(link, at)
                if at in hosts:
                    through.add(at)
        for end in sorted(through):
            mine = [index for index, link in enumerate(self.sketch.links) if end in (link.a, link.b)]
            if len(mine) < 2:
                continue
            device = end.partition(".")[0]
            switch = self.switch(f"{device}_router")
            rates = [self.sketch.links[index].bandwidth for index in mine]
            wide = sum(parse(rate.text, "bytes/s") for rate in rates if rate is not None)
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
