"""Puts a generated fabric together: repeats the host, names what it repeats, collects links by what declares them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from controller.errors import BadTopology
from controller.topology.cables import Cable, cable_of
from controller.topology.declaration import DeviceEntry, SwitchEntry, Wire
from controller.topology.document import Document, Place
from controller.topology.generate.host import MAX_LINKS, MAX_VERTICES, HostBlock
from controller.topology.nearest import hint
from controller.topology.schema import Endpoint

Ends = Callable[[int], tuple[Endpoint, ...]]
"""The endpoints of one end of a link, by host."""


@dataclass(frozen=True, slots=True)
class WovenGroup:
    """A group of devices over all hosts.

    Attributes:
        entry: its product and settings; the count is that of one host.
        place: where the file declares it.
        hosts: the chassis of every member, in order.
    """

    entry: DeviceEntry
    place: Place
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WovenLinks:
    """Links that are declared once.

    Attributes:
        name: of all of them, for overrides.
        cable: what they are made of.
        place: where the file declares them.
        where: that, as file and line.
        links: (name, end, end) of each.
        dimension: of the torus that they lie in, -1 elsewhere.
    """

    name: str
    cable: Cable
    place: Place
    where: str
    links: list[tuple[str, Endpoint, Endpoint]] = field(default_factory=list)
    dimension: int = -1

    def join(self, a: Endpoint, b: Endpoint) -> None:
        """Adds the link from `a` to `b`, named by its ends."""
        self.add(f"{a}-{b}", a, b)

    def add(self, name: str, a: Endpoint, b: Endpoint) -> None:
        """Adds the link `name` from `a` to `b`.

        Raises:
            BadTopology: more than anybody can mean.
        """
        if len(self.links) >= MAX_LINKS:
            raise BadTopology(
                f"{self.where}: the fabric has more than {MAX_LINKS} of these links; declare a smaller one"
            )
        self.links.append((name, a, b))


@dataclass(slots=True)
class Expansion:
    """What a ``fabric:`` block stands for.

    Attributes:
        hosts: names of the chassis.
        groups: by name.
        switches: to their host, "" for one between hosts.
        links: in the order of their making.
        repeated: switches of the hosts, with the entries that they repeat.
        ports: (group, port) that links end at, with the place that says so.
    """

    hosts: list[str] = field(default_factory=list)
    groups: dict[str, WovenGroup] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    links: list[WovenLinks] = field(default_factory=list)
    repeated: dict[str, SwitchEntry] = field(default_factory=dict)
    ports: dict[tuple[str, str], Place] = field(default_factory=dict)


class Weaver:
    """Builds an `Expansion`; what kinds of fabric call.

    Attributes:
        expansion: what has been built.
    """

    def __init__(self, document: Document, host: HostBlock, host_count: int) -> None:
        """Repeats the host.

        Raises:
            BadTopology: a link of the host ends at nothing.
        """
        self._document = document
        self._host = host
        self.expansion = Expansion()
        self.expansion.hosts = [f"host{index}" for index in range(host_count)]
        for name, device in host.devices.items():
            members = tuple(each for each in self.expansion.hosts for _ in range(device.count or 1))
            self.expansion.groups[name] = WovenGroup(device, ("fabric", "host", "devices", name), members)
        for index, each in enumerate(self.expansion.hosts):
            for switch in host.switches:
                self.expansion.switches[f"{switch}_h{index}"] = each
                self.expansion.repeated[f"{switch}_h{index}"] = switch.entry
        self._repeat_links()

    def switches(self, name: str, count: int) -> tuple[Endpoint, ...]:
        """`count` switches between hosts, called ``name0``, ``name1``, ..."""
        return tuple(self.switch(f"{name}{index}") for index in range(count))

    def switch(self, name: str) -> Endpoint:
        """One switch between hosts.

        Raises:
            BadTopology: more than anybody can mean.
        """
        if len(self.expansion.switches) >= MAX_VERTICES:
            where = self._document.where(("fabric",))
            raise BadTopology(f"{where}: the fabric has more than {MAX_VERTICES} switches; declare a smaller one")
        self.expansion.switches[name] = ""
        return Endpoint(name)

    def links(self, name: str, wire: Wire | Cable, key: str, dimension: int = -1) -> WovenLinks:
        """A new set of links that one key of the block declares.

        Args:
            name: of all of them, for overrides.
            wire: what they are made of.
            key: of the block.
            dimension: of the torus that they lie in, -1 elsewhere.
        """
        place = ("fabric", *key.split("."))
        cable = wire if isinstance(wire, Cable) else cable_of(wire, self._document.where(place))
        made = WovenLinks(name, cable, place, self._document.where(place), dimension=dimension)
        self.expansion.links.append(made)
        return made

    def cable(self, wire: Wire, key: str) -> Cable:
        """The cable that one key of the block declares."""
        return cable_of(wire, self._document.where(("fabric", *key.split("."))))

    def uplinks(self, texts: Sequence[str] | None = None, key: str = "host.uplinks") -> list[tuple[Endpoint, ...]]:
        """The ends that leave every host, by host.

        Args:
            texts: ends, as a link has them; None for the host's uplinks.
            key: of the block that names them.

        Raises:
            BadTopology: there is none, or one that ends at nothing.
        """
        place = ("fabric", *key.split("."))
        named = self._host.uplinks if texts is None else texts
        if not named:
            raise BadTopology(
                f"{self._document.where(place)}: nothing leaves the host; name the ends that do in host.uplinks, "
                f"for example [gpu.pcie] or a switch of the host"
            )
        ends = [self._ends(text, (*place, index)) for index, text in enumerate(named)]
        return [tuple(end for each in ends for end in each(host)) for host in range(len(self.expansion.hosts))]

    def uplink_text(self, texts: Sequence[str] | None = None) -> str:
        """What leaves a host, in words for the name of links."""
        return ",".join(self._host.uplinks if texts is None else texts)

    def wrong(self, key: str, why: str) -> BadTopology:
        """The error about one key of the block."""
        return BadTopology(f"{self._document.where(('fabric', *key.split('.')))}: fabric: {why}")

    def _repeat_links(self) -> None:
        for index, entry in enumerate(self._host.links):
            place = ("fabric", "host", "links", index)
            first = self._ends(entry.ends[0], (*place, "ends", 0))
            second = self._ends(entry.ends[1], (*place, "ends", 1))
            counts = len(first(0)), len(second(0))
            if counts[0] != counts[1] and 1 not in counts:
                raise BadTopology(
                    f"{self._document.where(place)}: {entry.ends[0]} is {counts[0]} devices of a host and "
                    f"{entry.ends[1]} is {counts[1]}; two groups are joined one to one, so their counts must be equal"
                )
            where = self._document.where(place)
            made = WovenLinks(entry.name or "-".join(entry.ends), cable_of(entry, where), place, where)
            for host in range(len(self.expansion.hosts)):
                names = self._names(entry.name, host, max(counts))
                for copy, (a, b) in enumerate(_pairs(first(host), second(host))):
                    if a.vertex == b.vertex:
                        raise BadTopology(
                            f"{self._document.where(place)}: the link joins {a.vertex!r} with itself; "
                            f"name two different ends"
                        )
                    made.add(names[copy] if names else f"{a}-{b}", a, b)
            self.expansion.links.append(made)

    def _names(self, name: str | None, host: int, count: int) -> list[str]:
        if name is None:
            return []
        return [f"{name}_h{host}"] if count == 1 else [f"{name}{index}_h{host}" for index in range(count)]

    def _ends(self, text: str, place: Place) -> Ends:
        """What `text` means in each host: a switch, all devices of a group, or one by its index inside of the host."""
        where = self._document.where(place)
        vertex, dot, port = text.partition(".")
        if vertex in self._host.switches:
            if dot:
                raise BadTopology(f"{where}: {vertex!r} is a switch and has no port {port!r}; write {vertex!r} alone")
            return lambda host: (Endpoint(f"{vertex}_h{host}"),)
        for group, device in self._host.devices.items():
            per_host = device.count or 1
            single = vertex.removeprefix(group)
            if vertex == group:
                chosen: Iterable[int] = range(per_host)
            elif device.count and vertex.startswith(group) and single.isdecimal() and int(single) < per_host:
                chosen = (int(single),)
            else:
                continue
            if not dot:
                raise BadTopology(f"{where}: {vertex!r} is a device, so the link needs its port; write {vertex}.<port>")
            self.expansion.ports.setdefault((group, port), place)
            indices = tuple(chosen)
            return lambda host: tuple(Endpoint(f"{group}{host * per_host + index}", port) for index in indices)
        known = (*self._host.devices, *self._host.switches)
        raise BadTopology(
            f"{where}: the link ends at {vertex!r}, which is no device and no switch of the host"
            f"{hint(vertex, known, 'devices and switches')}"
        )


def _pairs(first: tuple[Endpoint, ...], second: tuple[Endpoint, ...]) -> list[tuple[Endpoint, Endpoint]]:
    count = max(len(first), len(second))
    return [(first[index % len(first)], second[index % len(second)]) for index in range(count)]
