"""Declared groups become devices: counts are expanded, sheets loaded, constants overridden."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.declaration import Declaration, DeviceEntry, MemberEntry
from controller.topology.document import Document, Place
from controller.topology.generate.weaver import Expansion
from controller.topology.names import name_complaint
from controller.topology.nearest import hint
from controller.topology.overrides import NO_DEVICE, Override
from controller.topology.schema import Device
from node.errors import UserInput
from node.hardware.catalog import apply_overrides, load_product
from node.hardware.device import DeviceSpec


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """One entry under ``devices``, with its count resolved.

    Attributes:
        name: its key in the file.
        host: the chassis that declares it.
        count: None for a single device that carries the group's own name.
        place: where the file declares it.
        hosts: of every member, in order, where a generator spread the group over many.
    """

    name: str
    host: str
    entry: DeviceEntry
    count: int | None
    place: Place
    hosts: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """Names of its devices, in order."""
        return (self.name,) if self.count is None else tuple(f"{self.name}{index}" for index in range(self.count))


def declared_groups(
    document: Document, declaration: Declaration, overrides: Sequence[Override], woven: Expansion | None = None
) -> dict[str, DeviceGroup]:
    """The groups by name, with every name checked, those of the switches too.

    Args:
        document: the file.
        declaration: what it says.
        overrides: of which counts are taken here.
        woven: what its ``fabric:`` block stands for.

    Raises:
        BadTopology: an invalid name, or two vertices of one name.
        BadOverride: an invalid count.
    """
    counts = {override.target: override for override in overrides if override.path == "count" and override.structural}
    groups: dict[str, DeviceGroup] = {}
    vertices: dict[str, Place] = {}

    def take(name: str, place: Place, what: str) -> None:
        complaint = name_complaint(name, what)
        if complaint:
            raise BadTopology(f"{document.where(place)}: {complaint}")
        if name in vertices:
            first = document.line(vertices[name])
            raise BadTopology(
                f"{document.where(place)}: the name {name!r} is taken by the entry in line {first}; every device and "
                f"switch of a topology has a name of its own, rename one"
            )
        vertices[name] = place

    for index, switch in enumerate(declaration.switches):
        take(switch, ("switches", index), "switch")
    for host, entry in declaration.hosts.items():
        complaint = name_complaint(host, "host")
        if complaint:
            raise BadTopology(f"{document.where(('hosts', host))}: {complaint}")
        for index, switch in enumerate(entry.switches):
            take(switch, ("hosts", host, "switches", index), "switch")
        for name, device in entry.devices.items():
            place = ("hosts", host, "devices", name)
            if name in groups:
                first = document.line(groups[name].place)
                raise BadTopology(
                    f"{document.where(place)}: {name!r} is declared already in line {first}; devices of two hosts "
                    f"need names of their own, rename one"
                )
            count = counts[name].count() if name in counts else device.count
            groups[name] = DeviceGroup(name, host, device, count, place)
            # A group's name must itself be fit to be addressed, even where only its members become vertices.
            complaint = name_complaint(name, "device")
            if complaint:
                raise BadTopology(f"{document.where(place)}: {complaint}")
            for member in groups[name].members:
                take(member, place, "device")
    for name, group in (woven.groups if woven else {}).items():
        complaint = name_complaint(name, "device")
        if complaint:
            raise BadTopology(f"{document.where(group.place)}: {complaint}")
        if name in counts:
            raise counts[name].wrong(f"the fabric repeats its host; write fabric.host.devices.{name}.count=...")
        if name in groups:
            first = document.line(groups[name].place)
            raise BadTopology(
                f"{document.where(group.place)}: {name!r} is declared already in line {first}; rename one"
            )
        groups[name] = DeviceGroup(name, "", group.entry, len(group.hosts), group.place, group.hosts)
        for member in groups[name].members:
            take(member, group.place, "device")
    for made in woven.switches if woven else ():
        take(made, ("fabric",), "switch")
    if not groups:
        raise BadTopology(f"{document.where(('hosts',))}: the topology declares no device; add one under devices:")
    return groups


def declared_devices(
    document: Document,
    groups: dict[str, DeviceGroup],
    overrides: Sequence[Override],
    folders: Sequence[Path],
) -> dict[str, Device]:
    """Every device with its sheet, ``set:`` entries and overrides applied.

    Raises:
        BadTopology: an unknown product, or a ``set:`` that names no constant or gives a wrong value.
        BadOverride: the same for an override, or one that addresses nothing.
    """
    products = {item.target: item for item in overrides if item.path == "product" and item.structural}
    specs: dict[str, DeviceSpec] = {}
    for group in groups.values():
        spec = _group_spec(document, group, products.get(group.name), folders)
        members = group.members
        specs.update(dict.fromkeys(members, spec))
        for index, member in group.entry.members.items():
            place = (*group.place, "members", index)
            if index >= len(members) or group.count is None:
                raise BadTopology(
                    f"{document.where(place)}: {group.name} has no member {index}; it has {len(members)}, "
                    f"counted from 0{'' if group.count else ', and declares no count'}"
                )
            product = products.get(group.name)
            specs[members[index]] = _member_spec(document, group, member, place, product, folders)
    for override in overrides:
        if override.target in NO_DEVICE:
            continue
        members = groups[override.target].members if override.target in groups else (override.target,)
        if members[0] not in specs:
            known = (*groups, *specs, *NO_DEVICE)
            raise override.wrong(f"no device {override.target!r}{hint(override.target, known, 'targets')}")
        if "." not in override.path and not override.structural:
            # A constant has a dot in its path, so this was meant for the group itself.
            raise override.wrong(f"no {override.path!r}{hint(override.path, ('count', 'product'), 'settings')}")
        if override.structural and override.target not in groups:
            owner = next(group.name for group in groups.values() if override.target in group.members)
            raise override.wrong(f"{override.path} belongs to the whole group; write {owner}.{override.path}=...")
        if not override.structural:
            _override_members(specs, members, override)
    return {
        name: Device(name, group.name, index, group.hosts[index] if group.hosts else group.host, specs[name])
        for group in groups.values()
        for index, name in enumerate(group.members)
    }


def _group_spec(
    document: Document, group: DeviceGroup, product: Override | None, folders: Sequence[Path]
) -> DeviceSpec:
    place = (*group.place, "product")
    if product is not None:
        spec = _checked(product.wrong, lambda: _placeable(product.value, folders))
    else:
        spec = _checked(_at(document, place, group), lambda: _placeable(group.entry.product, folders))
    return _with_constants(document, group, spec, group.entry.constants, group.place)


def _member_spec(
    document: Document,
    group: DeviceGroup,
    member: MemberEntry,
    place: Place,
    product: Override | None,
    folders: Sequence[Path],
) -> DeviceSpec:
    """A member that the file sets apart: its own product, or that of the group, and its own constants after those."""
    named = member.product
    if named is None:
        spec = _group_spec(document, group, product, folders)
    else:
        spec = _checked(_at(document, (*place, "product"), group), lambda: _placeable(named, folders))
        spec = _with_constants(document, group, spec, group.entry.constants, group.place)
    return _with_constants(document, group, spec, member.constants, place)


def _placeable(product: str, folders: Sequence[Path]) -> DeviceSpec:
    """The sheet of a product that can be a device of a topology: not a NIC, since devices forward nothing."""
    spec = load_product(product, folders)
    if spec.kind == "nic":
        port = next(iter(spec.ports))
        rate, given = spec.constants[f"{port}.read"].text, spec.constants.get(f"{port}.latency")
        latency = given.text if given else "0 s"
        raise UserInput(
            f"{product} is a nic, which holds nothing and which no route passes; give its rate and latency to the link "
            f"that it drives (`windtunnel devices {product}` shows them): leave it out of devices: and write under "
            f"links:  - {{ends: [DEVICE.PORT, SWITCH], bandwidth: {rate}, latency: {latency}}}"
        )
    return spec


def _with_constants(
    document: Document, group: DeviceGroup, spec: DeviceSpec, constants: Mapping[str, str], place: Place
) -> DeviceSpec:
    for path, value in constants.items():
        # One at a time, so that a complaint knows its line.
        spec = _checked(_at(document, (*place, "set", path), group), _application(spec, path, value))
    return spec


def _override_members(specs: dict[str, DeviceSpec], members: Sequence[str], override: Override) -> None:
    """Members share one spec object as long as nothing sets them apart, so each distinct one is changed once."""
    changed: dict[int, DeviceSpec] = {}
    for member in members:
        before = specs[member]
        if id(before) not in changed:
            changed[id(before)] = _checked(override.wrong, _application(before, override.path, override.value))
        specs[member] = changed[id(before)]


def _application(spec: DeviceSpec, path: str, value: str) -> Callable[[], DeviceSpec]:
    return lambda: apply_overrides(spec, {path: value})


def _at(document: Document, place: Place, group: DeviceGroup) -> Callable[[str], Exception]:
    return lambda why: BadTopology(f"{document.where(place)}: device {group.name}: {why}")


def _checked(wrong: Callable[[str], Exception], make: Callable[[], DeviceSpec]) -> DeviceSpec:
    """What `make` returns; what the catalog complains about becomes `wrong`, which knows where the text stands."""
    try:
        return make()
    except UserInput as error:
        raise wrong(str(error)) from error
