"""What declared switches do with the data that passes them: add it up, or send it out of several links at once."""

from __future__ import annotations

from collections.abc import Mapping

from controller.topology.declaration import Declaration, SwitchEntry
from controller.topology.document import Document
from controller.topology.schema import Abilities
from node.hardware.device import Constant


def declared_abilities(
    document: Document, declaration: Declaration, repeated: Mapping[str, SwitchEntry] | None = None
) -> dict[str, Abilities]:
    """The switches that can do more than pass data on, by name, in the order of the file.

    Args:
        document: the file.
        declaration: what it says.
        repeated: switches of a generated fabric, by name, with the entries that they repeat.
    """
    found: dict[str, Abilities] = {}
    for name in declaration.switches:
        _add(found, document, name.entry)
    for host in declaration.hosts.values():
        for name in host.switches:
            _add(found, document, name.entry)
    for made, entry in (repeated or {}).items():
        _add(found, document, entry, made)
    return found


def _add(found: dict[str, Abilities], document: Document, entry: SwitchEntry, name: str = "") -> None:
    if entry.rate is None:
        return
    rate = entry.rate
    source = rate.source or f"{document.path}, switch {entry.name}"
    constant = Constant("rate", rate.value, rate.amount, rate.kind or "assumed", source)
    found[name or entry.name] = Abilities(tuple(entry.types), entry.multicast, rate.amount, {"rate": constant})
