"""Faults from a YAML file, for ``--faults FILE``; the docstring of the package shows one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.errors import BadTopology
from controller.faults.kinds import KINDS
from controller.faults.schedule import parse_fault
from controller.faults.timeline import check_times
from controller.topology.document import Document, Place
from controller.topology.fault import FLIPS, ON_OFF, RAMP, STEP, Component, Fault, Shape
from controller.topology.nearest import hint
from node.errors import BadQuantity
from node.hardware.units import parse

LINK_KEYS = ("link", "at", "until", "capacity")
KEYS = ("target", "kind", "severity", "at", "for", "shape")
EXAMPLE = "write for example '- {target: gpu0, kind: slow, severity: 1.6, at: 2 ms, for: 5 ms}'"
LINK_EXAMPLE = "write for example '- {link: up0-1, at: 2 ms, until: 5 ms}'"
SHAPES: Mapping[str, tuple[str, ...]] = {RAMP: ("rise",), ON_OFF: ("on", "off"), FLIPS: ("on", "off", "seed")}
"""Keys of each shape that has any."""


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The faults of a file, in its order.

    Raises:
        BadTopology: no YAML, no list below ``faults:``, an unknown or missing key, or a wrong value; file and line.
    """
    document = Document(path, "a file of faults is a list below the key 'faults'")
    for key in document.data:
        if key != "faults":
            raise BadTopology(f"{document.where((key,))}: unknown key {key!r}{hint(str(key), ['faults'], 'keys')}")
    return faults_of(document)


def faults_of(document: Document) -> tuple[Fault, ...]:
    """The faults below the key ``faults`` of a file.

    Raises:
        BadTopology: see `read_faults`.
    """
    entries = document.data.get("faults")
    if not isinstance(entries, list) or not entries:
        raise BadTopology(f"{document.where(('faults',))}: no faults; write a list below 'faults:'; {LINK_EXAMPLE}")
    return tuple(_fault(document, index, entry) for index, entry in enumerate(entries))


def _fault(document: Document, index: int, entry: Any) -> Fault:
    place: Place = ("faults", index)
    where = document.where(place)
    if not isinstance(entry, dict):
        raise BadTopology(f"{where}: {entry!r} is not a fault; {EXAMPLE}")
    is_link = "target" not in entry and "link" in entry
    keys, example = (LINK_KEYS, LINK_EXAMPLE) if is_link else (KEYS, EXAMPLE)
    for key in entry:
        if key not in keys:
            raise BadTopology(f"{where}: unknown key {key!r}{hint(str(key), keys, 'keys')}")
    for key in ("link", "at") if is_link else ("target", "kind", "at"):
        if not isinstance(entry.get(key), str):
            raise BadTopology(f"{where}: {key!r} is missing or is not text; {example}")
    return _of_link(entry, where) if is_link else _of_target(entry, where)


def _of_link(entry: Mapping[str, Any], where: str) -> Fault:
    share = f"={entry['capacity']}" if "capacity" in entry else ""
    until = f":{entry['until']}" if "until" in entry else ""
    return parse_fault(f"{entry['link']}{share}@{entry['at']}{until}", where)


def _of_target(entry: Mapping[str, Any], where: str) -> Fault:
    target, kind = entry["target"].strip(), entry["kind"].strip()
    text = f"{target} {kind}{' ' + str(entry['severity']) if 'severity' in entry else ''} @ {entry['at']}"
    said = f"{where}: fault {text!r}"
    if kind not in KINDS:
        raise BadTopology(f"{said}: no kind of fault {kind!r}{hint(kind, KINDS, 'kinds')}")
    severity = entry.get("severity", KINDS[kind].default)
    if isinstance(severity, str) or severity is None:
        severity = _severity(severity, said, kind)
    if isinstance(severity, bool) or not isinstance(severity, int | float):
        raise BadTopology(f"{said}: {severity!r} is no severity; write {KINDS[kind].unit or 'none'}")
    at_s = _time(entry["at"], said, "at")
    for_s = _time(entry["for"], said, "for") if "for" in entry else None
    shape = _shape(entry["shape"], said) if "shape" in entry else Shape()
    fault = Fault(Component("", target), kind, float(severity), at_s, for_s, shape, text, where)
    check_times(fault)
    return fault


def _severity(given: str | None, said: str, kind: str) -> float:
    if given is None:
        raise BadTopology(f"{said}: a {kind!r} needs a severity; write 'severity:' with {KINDS[kind].unit}")
    try:
        return parse(given.removesuffix("x").strip(), "ratio")
    except BadQuantity as error:
        raise BadTopology(f"{said}: {error}") from error


def _time(given: object, said: str, key: str) -> float:
    if not isinstance(given, str):
        raise BadTopology(f"{said}: {key!r} is {given!r}; write a time with its unit, for example '{key}: 5 ms'")
    try:
        return parse(given.strip(), "s")
    except BadQuantity as error:
        raise BadTopology(f"{said}: {error}") from error


def _shape(given: Any, said: str) -> Shape:
    if given == STEP:
        return Shape()
    known = (STEP, *SHAPES)
    if isinstance(given, str) and given not in known:
        raise BadTopology(f"{said}: no shape {given!r}{hint(given, known, 'shapes')}")
    if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in SHAPES:
        raise BadTopology(
            f"{said}: {given!r} is no shape; write step, {{ramp: {{rise: 5 s}}}}, {{on_off: {{on: 1 s, off: 2 s}}}} "
            f"or {{flips: {{on: 1 s, off: 2 s, seed: 7}}}}"
        )
    ((kind, values),) = given.items()
    if not isinstance(values, dict):
        raise BadTopology(f"{said}: the shape {kind!r} needs {', '.join(SHAPES[kind])} in braces, not {values!r}")
    for key in values:
        if key not in SHAPES[kind]:
            raise BadTopology(f"{said}: unknown key {key!r} of {kind!r}{hint(str(key), SHAPES[kind], 'keys')}")
    seed = values.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BadTopology(f"{said}: a seed of {seed!r}; write a whole number, 0 or more")
    times = {f"{key}_s": _time(values.get(key), said, key) for key in SHAPES[kind] if key != "seed"}
    return Shape(kind, seed=seed, **times)
