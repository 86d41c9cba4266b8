"""Faults from a YAML file, for ``--faults FILE``; the docstring of the package shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from controller.errors import BadTopology
from controller.faults.schedule import parse_fault
from controller.topology.document import Document
from controller.topology.nearest import hint
from controller.topology.schema import Fault

KEYS = ("link", "at", "until", "capacity")
EXAMPLE = "write for example '- {link: up0-1, at: 2 ms, until: 5 ms}'"


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The faults of a file, in its order.

    Raises:
        BadTopology: no YAML, no list below ``faults:``, an unknown or missing key, or a wrong value; file and line.
    """
    document = Document(path, "a file of faults is a list below the key 'faults'")
    for key in document.data:
        if key != "faults":
            raise BadTopology(f"{document.where((key,))}: unknown key {key!r}{hint(str(key), ['faults'], 'keys')}")
    entries = document.data.get("faults")
    if not isinstance(entries, list) or not entries:
        raise BadTopology(f"{document.where(('faults',))}: no faults; write a list below 'faults:'; {EXAMPLE}")
    return tuple(_fault(document, index, entry) for index, entry in enumerate(entries))


def _fault(document: Document, index: int, entry: Any) -> Fault:
    where = document.where(("faults", index))
    if not isinstance(entry, dict):
        raise BadTopology(f"{where}: {entry!r} is not a fault; {EXAMPLE}")
    for key in entry:
        if key not in KEYS:
            raise BadTopology(f"{where}: unknown key {key!r}{hint(str(key), KEYS, 'keys')}")
    for key in ("link", "at"):
        if not isinstance(entry.get(key), str):
            raise BadTopology(f"{where}: {key!r} is missing or is not text; {EXAMPLE}")
    share = f"={entry['capacity']}" if "capacity" in entry else ""
    until = f":{entry['until']}" if "until" in entry else ""
    return parse_fault(f"{entry['link']}{share}@{entry['at']}{until}", where)
