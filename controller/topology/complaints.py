"""What is wrong with a topology file, with file, line and hint, where its models refuse it."""

from __future__ import annotations

from pydantic import (
    ValidationError,
)
from pydantic_core import ErrorDetails

from controller.errors import BadTopology
from controller.topology.declaration import (
    DamageEntry,
    Declaration,
    DeviceEntry,
    Entry,
    HostEntry,
    LinkEntry,
    MemberEntry,
    Rate,
    SwitchEntry,
    Wire,
)
from controller.topology.document import Document, Place
from controller.topology.nearest import hint


def declaration_of(document: Document) -> Declaration:
    """Checks the shape of a file.

    Raises:
        BadTopology: every complaint with file and line, one a line, in the order of the file.
    """
    try:
        return Declaration.model_validate(document.data)
    except ValidationError as error:
        raise BadTopology(complaints(document, error)) from error


def complaints(document: Document, error: ValidationError) -> str:
    """What pydantic complains about, one a line with file and line, in the order of the file."""
    found = {(document.line(detail["loc"]), complaint(detail)) for detail in error.errors(include_url=False)}
    return "\n".join(f"{document.path}:{line}: {text}" for line, text in sorted(found))


def complaint(detail: ErrorDetails, around: tuple[str | int, ...] = (), keys: tuple[str, ...] = ()) -> str:
    """One complaint in words.

    Args:
        detail: what pydantic says.
        around: where the checked entry stands, () for the whole file.
        keys: that a mapping at `around` may have, where `around` is no place of its own kind.
    """
    place = (*around, *detail["loc"])
    inside = ".".join(str(key) for key in place[:-1]) or "the file"
    known = keys if keys and place[:-1] == around else _keys_at(place[:-1])
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key {place[-1]!r} in {inside}{hint(str(place[-1]), known, 'keys')}"
        case "missing":
            return f"{inside} lacks the key {place[-1]!r}"
        case "quantity" | "directions" | "fabric" | "switch":
            return f"{'.'.join(str(key) for key in place)}: {detail['msg']}"
    given = detail["input"]
    shown = f" (here: {given!r})" if isinstance(given, str | int | float | None) else ""
    return f"{'.'.join(str(key) for key in place)}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{shown}"


def _keys_at(place: Place) -> tuple[str, ...]:
    """The keys that a mapping at `place` may have."""
    match tuple(place):
        case ():
            entry: type[Entry] = Declaration
        case ("hosts", _):
            entry = HostEntry
        case ("hosts", _, "devices", _):
            entry = DeviceEntry
        case ("hosts", _, "devices", _, "members", _) | ("fabric", "host", "devices", _, "members", _):
            entry = MemberEntry
        case ("fabric", "host", "devices", _):
            entry = DeviceEntry
        case ("switches", _) | ("hosts", _, "switches", _):
            entry = SwitchEntry
        case ("links", _) | ("hosts", _, "links", _) | ("fabric", "host", "links", _):
            entry = LinkEntry
        case ("damage", _):
            entry = DamageEntry
        case ("fabric", "host"):
            return (*_keys(HostEntry), "uplinks")
        case ("fabric", *_):
            entry = Wire
        case _:
            entry = Rate
    return _keys(entry)


def _keys(entry: type[Entry]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in entry.model_fields.items())
