"""`load_topology`: a YAML file, its product sheets and overrides become one frozen `Topology`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.abilities import declared_abilities
from controller.topology.complaints import declaration_of
from controller.topology.declaration import Declaration
from controller.topology.devices import declared_devices, declared_groups
from controller.topology.digest import digest_of
from controller.topology.document import Document
from controller.topology.generate.expand import expanded
from controller.topology.links import Vertices, declared_links
from controller.topology.names import name_complaint
from controller.topology.nearest import hint
from controller.topology.overrides import Override, parse_overrides
from controller.topology.prices import declared_prices, moved_option
from controller.topology.schema import Device, Link, Topology
from controller.topology.shipped import list_topologies, topology_path

__all__ = ["list_topologies", "load_topology"]

SETTABLE = ("process", "routing", "routing.seed", "routing.connections")
"""Options that every topology has, declared or not; see `controller.fabric.routing`."""


def load_topology(
    name_or_path: str | Path, overrides: Sequence[str] = (), catalog_folders: Sequence[str | Path] = ()
) -> Topology:
    """The declared cluster with every override applied.

    Args:
        name_or_path: a shipped topology (`list_topologies`), or a path that ends in ``.yaml``.
        overrides: ``--set`` texts, see `controller.topology.overrides`.
        catalog_folders: folders with device sheets that are looked in before the shipped catalog.

    Raises:
        BadTopology: the file is missing or wrong; every complaint says file and line.
        BadOverride: an override that addresses nothing or gives a wrong value.
    """
    document = Document(topology_path(name_or_path))
    declaration = declaration_of(document)
    complaint = name_complaint(declaration.name, "topology")
    if complaint:
        raise BadTopology(f"{document.where(('name',))}: {complaint}")
    parsed = parse_overrides(overrides)
    folders = tuple(Path(folder) for folder in catalog_folders)
    woven = expanded(document, declaration, parsed)
    groups = declared_groups(document, declaration, parsed, woven)
    devices = declared_devices(document, groups, parsed, folders)
    switches: dict[str, str] = dict.fromkeys(declaration.switches, "")
    for host, entry in declaration.hosts.items():
        switches.update(dict.fromkeys(entry.switches, host))
    switches.update(woven.switches)
    links, failed = declared_links(Vertices(document, devices, groups, switches), declaration, parsed, woven)
    _refuse_unlinked(document, devices, (*links, *failed))
    options = _options(document, declaration, parsed)
    rents = declared_prices(document, declaration, parsed, folders)
    abilities = declared_abilities(document, declaration, woven.repeated)
    return Topology(
        name=declaration.name,
        source=str(name_or_path),
        devices=devices,
        switches=tuple(switches),
        links=links,
        overrides=tuple(overrides),
        digest=digest_of(devices, tuple(switches), links, options, abilities),
        options=options,
        rent_usd_per_hour=rents,
        abilities=abilities,
        failed_links=failed,
        switch_hosts=switches,
    )


def _refuse_unlinked(document: Document, devices: Mapping[str, Device], links: Sequence[Link]) -> None:
    """Refuses devices with ports that nothing is linked to, where there are several: no byte could reach them.

    Raises:
        BadTopology: names the first such device of each group, with its line.
    """
    linked = {end.vertex for link in links for end in (link.a, link.b)}
    apart = [device for device in devices.values() if device.spec.ports and device.name not in linked]
    alone = {device.group: device for device in reversed(apart)}
    if len(devices) > 1 and alone:
        raise BadTopology("\n".join(_unlinked(document, device) for device in reversed(alone.values())))


def _unlinked(document: Document, device: Device) -> str:
    where = document.where(("hosts", device.host, "devices", device.group))
    ports = " or ".join(f"{device.group}.{port}" for port in device.spec.ports)
    return (
        f"{where}: {device.name!r} has no link to anything, so nothing can reach it; "
        f"add a link to {ports}, or remove the device"
    )


def _options(document: Document, declaration: Declaration, overrides: Sequence[Override]) -> dict[str, str]:
    for key, value in declaration.options.items():
        if moved := moved_option(key, value):
            raise BadTopology(f"{document.where(('options', key))}: {moved}")
    options = dict(declaration.options)
    for override in overrides:
        if override.target == "options":
            if moved := moved_option(override.path, override.value, override=True):
                raise override.wrong(moved)
            known = (*options, *SETTABLE)
            if override.path not in known:
                raise override.wrong(f"no option {override.path!r}{hint(override.path, known, 'options')}")
            options[override.path] = override.value
    return options
