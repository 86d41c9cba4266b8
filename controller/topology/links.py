"""Declared links become links: one for each device of a counted group, every end checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.errors import BadTopology
from controller.topology.cables import Cable, cable_of, loss, scaled_constants
from controller.topology.declaration import DamageEntry, Declaration, LinkEntry
from controller.topology.devices import DeviceGroup
from controller.topology.document import Document, Place
from controller.topology.generate.weaver import Expansion
from controller.topology.names import name_complaint
from controller.topology.nearest import hint
from controller.topology.overrides import Override
from controller.topology.passing import resolve_passes
from controller.topology.schema import Device, Endpoint, Link
from node.errors import BadQuantity
from node.hardware.device import Constant
from node.hardware.units import parse

DIMENSION = {"bandwidth": "bytes/s", "forward": "bytes/s", "backward": "bytes/s", "latency": "s"}
ATTRIBUTES = (*DIMENSION, "capacity", "failed")


@dataclass(frozen=True, slots=True)
class Vertices:
    """Everything that the end of a link may name."""

    document: Document
    devices: Mapping[str, Device]
    groups: Mapping[str, DeviceGroup]
    switches: Mapping[str, str]
    """Switch to its host, "" for one between hosts."""

    def ends(self, text: str, host: str, place: Place) -> tuple[Endpoint, ...]:
        """The endpoints that `text` names: one, or one for each device of a counted group.

        Raises:
            BadTopology: no such device, switch or port, or one that another host declares.
        """
        vertex, dot, port = text.partition(".")
        if vertex in self.switches:
            if dot:
                where = self.document.where(place)
                raise BadTopology(f"{where}: {vertex!r} is a switch and has no port {port!r}; write {vertex!r} alone")
            self._same_host(vertex, self.switches[vertex], host, place)
            return (Endpoint(vertex),)
        if vertex in self.groups:
            devices = [self.devices[name] for name in self.groups[vertex].members]
        elif vertex in self.devices:
            devices = [self.devices[vertex]]
        else:
            known = (*self.groups, *self.devices, *self.switches)
            raise BadTopology(
                f"{self.document.where(place)}: the link ends at {vertex!r}, which is no device and no switch"
                f"{hint(vertex, known, 'devices and switches')}"
            )
        self._same_host(vertex, devices[0].host, host, place)
        ports = devices[0].spec.ports
        if port not in ports:
            what = f"{vertex!r} has no port {port!r}" if dot else f"{vertex!r} is a device, so the link needs its port"
            addressable = [f"{vertex}.{name}" for name in ports]
            raise BadTopology(f"{self.document.where(place)}: {what}{hint(text, addressable, 'ports')}")
        return tuple(Endpoint(device.name, port) for device in devices)

    def check_ports(self, woven: Expansion) -> None:
        """Refuses generated links at ports that a device lacks.

        Raises:
            BadTopology: such a port; names the nearest.
        """
        for (group, port), place in woven.ports.items():
            specs = {id(self.devices[name].spec): self.devices[name].spec for name in self.groups[group].members}
            for spec in specs.values():
                if port not in spec.ports:
                    addressable = [f"{group}.{name}" for name in spec.ports]
                    raise BadTopology(
                        f"{self.document.where(place)}: {group!r} ({spec.product}) has no port {port!r}"
                        f"{hint(f'{group}.{port}', addressable, 'ports')}"
                    )

    def _same_host(self, vertex: str, actual: str, host: str, place: Place) -> None:
        if host and actual != host:
            where = self.document.where(place)
            stands = f"on host {actual!r}" if actual else "between the hosts"
            raise BadTopology(
                f"{where}: {vertex!r} is {stands}, not on {host!r}; "
                f"declare links between hosts in links: at the top of the file"
            )


def declared_links(
    vertices: Vertices, declaration: Declaration, overrides: Sequence[Override], woven: Expansion
) -> tuple[tuple[Link, ...], tuple[Link, ...]]:
    """Every link of the file, those of the hosts first and generated ones last, with damage and overrides applied.

    Returns:
        Those that work, and those that have failed.

    Raises:
        BadTopology: an end that is nowhere, groups of unequal count, or two links of one name.
        BadOverride: an override that names no link or attribute, or gives a wrong value.
    """
    entries: list[tuple[LinkEntry, str, Place]] = [
        (entry, host, ("hosts", host, "links", index))
        for host, chassis in declaration.hosts.items()
        for index, entry in enumerate(chassis.links)
    ]
    entries += [(entry, "", ("links", index)) for index, entry in enumerate(declaration.links)]
    links: dict[str, Link] = {}
    places: dict[str, Place] = {}
    copies: dict[str, list[str]] = {}
    failed: dict[str, None] = {}
    passes: dict[str, Sequence[str]] = {}

    def take(declared: str, link: Link, place: Place, cable: Cable) -> None:
        if link.name in links:
            first = vertices.document.line(places[link.name])
            raise BadTopology(
                f"{vertices.document.where(place)}: the link {link.name!r} is declared already in line {first}; "
                f"give parallel links a name: each"
            )
        links[link.name], places[link.name] = link, place
        copies.setdefault(declared, []).append(link.name)
        if cable.failed:
            failed[link.name] = None

    for entry, host, place in entries:
        cable = cable_of(entry, vertices.document.where(place))
        for declared, link in _copies(vertices, entry, host, place, cable):
            take(declared, link, place, cable)
            if entry.passes:
                passes[link.name] = entry.passes
    vertices.check_ports(woven)
    for many in woven.links:
        for name, a, b in many.links:
            take(many.name, many.cable.link(name, a, b, many.dimension), many.place, many.cable)
    for index, damage in enumerate(declaration.damage):
        _damage(vertices.document, links, copies, failed, damage, ("damage", index))
    for override in overrides:
        if override.target == "link":
            _apply(links, copies, failed, override)
    resolve_passes(vertices.document, passes, places, links, failed)
    working = tuple(link for name, link in links.items() if name not in failed)
    return working, tuple(links[name] for name in links if name in failed)


def _damage(
    document: Document,
    links: dict[str, Link],
    copies: Mapping[str, Sequence[str]],
    failed: dict[str, None],
    damage: DamageEntry,
    place: Place,
) -> None:
    where = document.where(place)
    named = (damage.link,) if damage.link in links else copies.get(damage.link, ())
    if not named:
        raise BadTopology(f"{where}: no link {damage.link!r}{hint(damage.link, (*links, *copies), 'links')}")
    for name in named:
        if damage.failed:
            failed[name] = None
        if damage.capacity < 1:
            links[name] = _with_share(links[name], damage.capacity, loss(damage, where))


def _with_share(link: Link, share: float, why: str) -> Link:
    if math.isinf(link.forward_bytes_per_s):
        raise BadTopology(f"{why}: {link.name!r} has no capacity of its own; say it of what it passes")
    return replace(
        link,
        forward_bytes_per_s=link.forward_bytes_per_s * share,
        backward_bytes_per_s=link.backward_bytes_per_s * share,
        constants=scaled_constants(link.constants, share, why),
    )


def _copies(vertices: Vertices, entry: LinkEntry, host: str, place: Place, cable: Cable) -> list[tuple[str, Link]]:
    """(declared name, link) for each copy of one entry."""
    first = vertices.ends(entry.ends[0], host, (*place, "ends", 0))
    second = vertices.ends(entry.ends[1], host, (*place, "ends", 1))
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise BadTopology(
            f"{vertices.document.where(place)}: {entry.ends[0]} is {len(first)} devices and {entry.ends[1]} is "
            f"{len(second)}; two groups are joined one to one, so their counts must be equal"
        )
    complaint = name_complaint(entry.name, "link") if entry.name is not None else ""
    if complaint:
        raise BadTopology(f"{vertices.document.where(place)}: {complaint}")
    copies = max(len(first), len(second))
    counted = any(
        end.partition(".")[0] in vertices.groups and vertices.groups[end.partition(".")[0]].count is not None
        for end in entry.ends
    )
    declared = entry.name or "-".join(entry.ends)
    made = []
    for index in range(copies):
        a, b = first[index % len(first)], second[index % len(second)]
        if a.vertex == b.vertex:
            raise BadTopology(
                f"{vertices.document.where(place)}: the link joins {a.vertex!r} with itself; name two different ends"
            )
        name = f"{a}-{b}" if entry.name is None else f"{entry.name}{index}" if counted else entry.name
        made.append((declared, cable.link(name, a, b, -1 if entry.dimension is None else entry.dimension)))
    return made


def _apply(
    links: dict[str, Link], copies: Mapping[str, Sequence[str]], failed: dict[str, None], override: Override
) -> None:
    name, _, attribute = override.path.rpartition(".")
    if not name:
        raise override.wrong(f"which link? write link.<name>.{attribute}{hint('', (*links, *copies), 'links')}")
    if attribute not in ATTRIBUTES:
        raise override.wrong(f"a link has no {attribute!r}{hint(attribute, ATTRIBUTES, 'attributes')}")
    named = (name,) if name in links else copies.get(name, ())
    if not named:
        raise override.wrong(f"no link {name!r}{hint(name, (*links, *copies), 'links')}")
    if attribute == "failed":
        if override.value not in ("true", "false"):
            raise override.wrong(f"failed is true or false, not {override.value!r}")
        for one in named:
            failed.pop(one, None)
            if override.value == "true":
                failed[one] = None
        return
    if attribute == "capacity":
        share = _share(override)
        for one in named:
            links[one] = _with_share(links[one], share, f"override {override.text}")
        return
    try:
        amount = parse(override.value, DIMENSION[attribute])
    except BadQuantity as error:
        raise override.wrong(str(error)) from error
    if amount <= 0 and attribute != "latency":
        raise override.wrong("a link needs more than 0 B/s")
    for link in (links[one] for one in named):
        if link.shared and attribute in ("forward", "backward"):
            raise override.wrong(f"{link.name} is shared by both directions; override its bandwidth")
        sides = ("forward", "backward") if attribute == "bandwidth" else (attribute,)
        source = f"override {override.text}"
        constants = {side: Constant(side, override.value, amount, "assumed", source) for side in sides}
        links[link.name] = replace(
            link,
            forward_bytes_per_s=amount if "forward" in sides else link.forward_bytes_per_s,
            backward_bytes_per_s=amount if "backward" in sides else link.backward_bytes_per_s,
            latency_s=amount if attribute == "latency" else link.latency_s,
            constants={**link.constants, **constants},
        )


def _share(override: Override) -> float:
    try:
        share = float(override.value)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise override.wrong(f"capacity is the share that is left, above 0 and at most 1, not {override.value!r}")
    return share
