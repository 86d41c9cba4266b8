"""The topology file of what an importer has understood.

A file of many hosts has one entry a line (`controller.topology.line_entries`), since YAML of that size takes minutes to
read.
"""

from __future__ import annotations

import json
from typing import Any

from controller.topology.importing.sketch import Connection, Sketch
from controller.topology.line_entries import large_text

LARGE = 2_048
"""Most hosts that are written as people would."""


def file_text(sketch: Sketch, origin: str) -> str:
    """The topology file; `origin` says what it was made of."""
    lines = [f"# Imported from {origin}."]
    lines += [f"# Not taken over: {note}." for note in dict.fromkeys(sketch.notes)]
    lines.append(f"name: {sketch.name}")
    if sketch.fabric:
        return "\n".join(lines) + f"\n{sketch.fabric}"
    if len(sketch.hosts) > LARGE:
        return _large(sketch, lines[:-1])
    lines.append("hosts:")
    for host, chassis in sketch.hosts.items():
        lines += [f"  {host}:", "    devices:"]
        for device, (product, count) in chassis.devices.items():
            said = "" if count is None else f", count: {count}"
            lines.append(f"      {device}: {{product: {product}{said}}}")
        if chassis.switches:
            lines.append(f"    switches: [{', '.join(chassis.switches)}]")
        if chassis.links:
            lines.append("    links:")
            lines += [f"      {_line(link)}" for link in chassis.links]
    if sketch.switches:
        lines.append(f"switches: [{', '.join(sketch.switches)}]")
    if sketch.links:
        lines.append("links:")
        lines += [f"  {_line(link)}" for link in sketch.links]
    return "\n".join(lines) + "\n"


def _large(sketch: Sketch, comments: list[str]) -> str:
    """The same with an entry a line, which is read a hundred times as fast."""
    hosts: dict[str, Any] = {}
    for host, chassis in sketch.hosts.items():
        devices = {
            device: {"product": product} | ({} if count is None else {"count": count})
            for device, (product, count) in chassis.devices.items()
        }
        hosts[host] = {"devices": devices}
        if chassis.switches:
            hosts[host]["switches"] = chassis.switches
        if chassis.links:
            hosts[host]["links"] = [_entry(link) for link in chassis.links]
    sections: dict[str, Any] = {"hosts": hosts}
    if sketch.switches:
        sections["switches"] = sketch.switches
    if sketch.links:
        sections["links"] = [_entry(link) for link in sketch.links]
    return large_text(comments, sketch.name, sections)


_HELD = {"forward": "bandwidth"}
"""Attribute of a `Connection` by key of an entry, where they differ."""


def _line(link: Connection) -> str:
    """A link as a line of YAML: names stand bare, and JSON is YAML in all else."""
    entry = _entry(link)
    said = [f"ends: [{link.a}, {link.b}]"] + ([f"name: {link.name}"] if link.name else [])
    for key in ("bandwidth", "forward", "backward", "latency"):
        if key in entry:
            said.append(f"{key}: {getattr(link, _HELD.get(key, key)).yaml}")
    said += [
        f"{key}: {json.dumps(entry[key])}" for key in ("shared", "per_flow", "passes", "dimension") if key in entry
    ]
    return f"- {{{', '.join(said)}}}"


def _entry(link: Connection) -> dict[str, Any]:
    """A link as an entry of a file."""
    entry: dict[str, Any] = {"ends": [link.a, link.b]}
    entry |= {"name": link.name} if link.name else {}
    if link.bandwidth is not None and link.backward is None:
        entry["bandwidth"] = link.bandwidth.entry
    elif link.bandwidth is not None and link.backward is not None:
        entry |= {"forward": link.bandwidth.entry, "backward": link.backward.entry}
    entry["latency"] = link.latency.entry
    entry |= {"shared": True} if link.shared else {}
    entry |= {"per_flow": True} if link.per_flow else {}
    entry |= {"passes": list(link.passes)} if link.passes else {}
    entry |= {"dimension": link.dimension} if link.dimension >= 0 else {}
    return entry
