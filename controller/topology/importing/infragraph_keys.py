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
}  # fmt: skip


def refuse_older_layout(document: Document) -> None:
    """Refuses files whose connections are dotted texts.

    Raises:
        BadTopology: such a file, with the line.
    """
    for place, _, entry in _entries(document.data):
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


def unread_keys(document: Document) -> list[str]:
    """What the file says and nobody reads, one note a kind of entry and key."""
    notes: dict[str, None] = {}
    for _, kind, entry in _entries(document.data):
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
    if isinstance(data.get("physical"), Mapping):
        yield from _entries(data["physical"], "physical", (*place, "physical"))
