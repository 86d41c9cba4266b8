"""Keys of an InfraGraph file: the older layout is refused by name, and what is not read is noted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.errors import BadTopology
from controller.topology.document import Document, Place

OLDER = ("connections", "inventory", "device_edges", "infrastructure_edges")
"""Keys that versions before the Infrastructure of 2.0 had."""
READ: Mapping[str, frozenset[str]] = {
    "": frozenset({"name", "description", "devices", "links", "instances", "edges"}),
    "devices": frozenset({"name", "description", "components", "links", "edges"}),
    "components": frozenset({"name", "description", "choice", "count", *("custom", "device", "cpu", "xpu", "nic"),
                             *("memory", "port", "switch")}),
    "links": frozenset({"name", "description", "physical"}),
    "instances": frozenset({"name", "description", "device", "count"}),
    "edges": frozenset({"ep1", "ep2", "scheme", "link", "many2many", "one2one", "choice"}),
    "physical": frozenset({"bandwidth", "latency"}),
    "bandwidth": frozenset({"choice", "gigabits_per_second", "gigabytes_per_second", "gigatransfers_per_second"}),
    "latency": frozenset({"choice", "ms", "us", "ns"}),
    "ep1": frozenset({"instance", "device", "component"}),
    "ep2": frozenset({"instance", "device", "component"}),
}  # fmt: skip


def refuse_older_layout(document: Document) -> None:
    """Refuses files whose connections are dotted texts.

    Raises:
        BadTopology: such a file, with the line.
    """
    wrapped = document.data.get("infrastructure")
    inner = _entries(wrapped, "", ("infrastructure",)) if isinstance(wrapped, Mapping) else ()
    for place, _, entry in (*_entries(document.data), *inner):
        edges = entry.get("edges")
        texts = [each for each in edges if isinstance(each, str)] if isinstance(edges, list) else []
        texts += [entry[side] for side in ("ep1", "ep2") if isinstance(entry.get(side), str)]
        older = next((name for name in OLDER if name in entry), None)
        if older is None and isinstance(entry.get("devices"), Mapping):
            older = "devices"
        if older is None and not texts:
            continue
        what = f"the key {older!r}" if older else f"the connection {texts[0]!r}"
        raise BadTopology(
            f"{document.where((*place, older) if older else place)}: {what} is of InfraGraph's older layout, whose "
            f"connections are dotted texts; write edges with ep1, ep2, scheme and link, as version 2 and later do"
        )
    if isinstance(wrapped, Mapping) and "devices" not in document.data:
        raise BadTopology(
            f"{document.where(('infrastructure',))}: the infrastructure lies inside of a response; give what stands "
            f"below 'infrastructure' as a file of its own"
        )


def unread_keys(document: Document) -> list[str]:
    """What the file says and nobody reads, one note a kind of entry and key.

    Raises:
        BadTopology: a bandwidth or latency in another unit than its choice says.
    """
    notes: dict[str, None] = {}
    for place, kind, entry in _entries(document.data):
        units = [key for key in entry if key in READ[kind] and key != "choice"]
        if kind in ("bandwidth", "latency") and units and entry.get("choice", units[0]) != units[0]:
            raise BadTopology(
                f"{document.where(place)}: the {kind} is in {' and '.join(units)}, but its choice is "
                f"{entry['choice']!r}; write one unit, and the same as the choice"
            )
        for key in entry:
            if key not in READ[kind] and entry[key]:
                notes[f"{key} of {kind}" if kind else str(key)] = None
    return list(notes)


def _entries(
    data: Mapping[str, Any], kind: str = "", place: Place = ()
) -> Iterator[tuple[Place, str, Mapping[str, Any]]]:
    yield place, kind, data
    for key in ("devices", "components", "links", "instances", "edges"):
        held = data.get(key)
        for index, entry in enumerate(held if isinstance(held, list) else ()):
            if isinstance(entry, Mapping):
                yield from _entries(entry, key, (*place, key, index))
    for key in ("physical", "bandwidth", "latency", "ep1", "ep2"):
        if isinstance(data.get(key), Mapping):
            yield from _entries(data[key], key, (*place, key))
