"""Reads a device sheet from YAML: every complaint names file, line and the nearest key that exists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from node.errors import BadQuantity, BadSheet
from node.hardware.device import Constant, ConstantKind, DeviceSpec
from node.hardware.sheet import (
    COMPUTE_NUMBERS,
    COMPUTE_UNITS,
    DEVICE_KINDS,
    PEAK_DTYPES,
    PORT_NUMBERS,
    POWER_NUMBERS,
    QUEUE_KINDS,
    QUEUE_NUMBERS,
    STORAGE_KINDS,
    TIER_NUMBERS,
    Skeleton,
    assemble,
)
from node.hardware.units import parse

_SECTIONS: Final = ("product", "kind", "description", "tiers", "compute", "ports", "queues", "power")
_MOST_ENTRIES = 10_000  # with every alias written out
_MOST_LEVELS = 16
_MOST_INTEGER = 2**63
_MOST_BYTES = 256 * 1024  # a sheet is a page or two; more is not a sheet


def read_sheet(text: str, where: str) -> DeviceSpec:
    """The device that the YAML in `text` describes.

    Args:
        text: content of a sheet.
        where: its file name, for errors.

    Raises:
        BadSheet: broken YAML, an unknown or missing key, a number without value, kind or source, or an impossible one.
    """
    if len(text) > _MOST_BYTES:
        raise BadSheet(f"{where}: {len(text)} characters; a device sheet holds at most {_MOST_BYTES}")
    try:
        document = YAML(typ="rt").load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadSheet(f"{where}{line}: not YAML: {problem}") from None
    except (RecursionError, ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        # What the parser runs into with anchors that hold themselves, deep nesting and endless numbers.
        problem = "is there an anchor that is merged into itself?"
        if isinstance(error, RecursionError):
            problem = f"nested deeper than {_MOST_LEVELS} levels"
        elif isinstance(error, ValueError):
            problem = str(error)[:200]
        raise BadSheet(f"{where}:1: not YAML that can be read: {problem}") from None
    _check_extent(document, where)
    return _Reader(where).device(document)


def _check_extent(document: Any, where: str) -> None:
    """Refuses what would take forever to walk or to print, before anything does."""
    waiting: list[tuple[Any, int]] = [(document, 0)]
    count = 0
    while waiting:
        entry, level = waiting.pop()
        count += 1
        if level > _MOST_LEVELS or count > _MOST_ENTRIES:
            raise BadSheet(
                f"{where}:1: more than {_MOST_LEVELS} levels or {_MOST_ENTRIES} entries with its aliases written out; "
                f"a device sheet needs a few; is there an alias in itself?"
            )
        if isinstance(entry, int) and not -_MOST_INTEGER < entry < _MOST_INTEGER:
            raise BadSheet(f"{where}:1: a whole number has {entry.bit_length()} bits; at most 63 are read")
        if isinstance(entry, Mapping):
            waiting.extend((value, level + 1) for value in entry.values())
        elif isinstance(entry, list):
            waiting.extend((value, level + 1) for value in entry)


class _Reader:
    """Walks one sheet; collects its constants by path."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.constants: dict[str, Constant] = {}

    def device(self, document: Any) -> DeviceSpec:
        if not isinstance(document, CommentedMap):
            raise BadSheet(f"{self.where}:1: a device sheet is a mapping with {', '.join(_SECTIONS)}")
        self.keys(document, _SECTIONS, required=("product", "kind", "description"))
        tiers = {
            name: (
                self.choice(body, "storage", STORAGE_KINDS),
                self.switch(body, "simplex"),
            )
            for name, body in self.parts(document, "tiers", ("storage", "simplex"), TIER_NUMBERS)
        }
        computes = self.computes(document)
        ports = {
            name: self.switch(body, "simplex")
            for name, body in self.parts(document, "ports", ("simplex",), PORT_NUMBERS)
        }
        queues = {
            name: (self.choice(body, "kind", QUEUE_KINDS), self.slots(body))
            for name, body in self.parts(document, "queues", ("kind", "slots"), QUEUE_NUMBERS)
        }
        if "power" in document:
            power = self.mapping(document, "power")
            self.keys(power, tuple(POWER_NUMBERS))
            for key, dimension in POWER_NUMBERS.items():
                self.number(power, key, f"power.{key}", dimension)
        self.distinct(document, (*tiers, *ports, *computes))
        self.distinct(document, (*tiers, *ports, *queues))  # a queue may be called like the unit that it feeds
        skeleton = Skeleton(
            product=self.text(document, "product"),
            kind=self.choice(document, "kind", DEVICE_KINDS),
            description=self.text(document, "description"),
            tiers=tiers,
            computes=computes,
            ports=ports,
            queues=queues,
        )
        return assemble(skeleton, self.constants, self.where)

    def computes(self, document: CommentedMap) -> tuple[str, ...]:
        if "compute" not in document:
            return ()
        section = self.mapping(document, "compute")
        self.keys(section, COMPUTE_UNITS)
        for name in section:
            unit = self.mapping(section, name)
            self.keys(unit, ("peak", "constants"), required=("peak",))
            peak = self.mapping(unit, "peak")
            self.keys(peak, PEAK_DTYPES)
            for dtype in peak:
                self.number(peak, dtype, f"{name}.peak.{dtype}", "FLOP/s")
            if "constants" in unit:
                given = self.mapping(unit, "constants")
                self.keys(given, tuple(COMPUTE_NUMBERS))
                for key in given:
                    self.number(given, key, f"{name}.{key}", COMPUTE_NUMBERS[key])
        return tuple(section)

    def parts(
        self, document: CommentedMap, section: str, plain: tuple[str, ...], numbers: Mapping[str, str]
    ) -> Iterable[tuple[str, CommentedMap]]:
        if section not in document:
            return
        parts = self.mapping(document, section)
        for name in parts:
            if not (isinstance(name, str) and name.isidentifier()):
                raise BadSheet(f"{self.at(parts, name)}: {name!r} is not a name; use letters, digits and _")
            body = self.mapping(parts, name)
            self.keys(body, (*plain, *numbers))
            for key, dimension in numbers.items():
                self.number(body, key, f"{name}.{key}", dimension)
            yield name, body

    def number(self, owner: CommentedMap, key: str, path: str, dimension: str) -> None:
        """Reads ``key: {value, kind, source}`` or ``key: value`` of `owner` into `constants`, if it is there.

        A value alone is the word of the sheet's author: assumed, with its line as the source.
        """
        if key not in owner:
            return
        body = owner[key]
        if isinstance(body, CommentedMap):
            self.keys(body, ("value", "kind", "source"), required=("value", "kind", "source"))
            value, place = body["value"], self.at(body, "value")
            kind = self.choice(body, "kind", get_args(ConstantKind))
            source = " ".join(self.text(body, "source").split())
        else:
            value, place = body, self.at(owner, key)
            kind, source = "assumed", f"declared in {place}"
        # A count or a ratio has no unit, so YAML reads it as a number; everything else must be text.
        bare = dimension in ("count", "ratio") and isinstance(value, int | float) and not isinstance(value, bool)
        text = str(value) if bare else value
        if not isinstance(text, str | int | float) or isinstance(text, bool):
            raise BadSheet(
                f"{place}: {path} is {value!r:.200}, which is no quantity in {dimension}; write {key}: VALUE with "
                f"its unit, or {key}: {{value: ..., kind: datasheet|measured|assumed, source: ...}}"
            )
        try:
            quantity = parse(text, dimension)
        except BadQuantity as error:
            raise BadSheet(f"{place}: {path}: {error}") from None
        self.constants[path] = Constant(path, str(text), quantity, kind, source)

    def keys(self, mapping: CommentedMap, known: tuple[str, ...], required: tuple[str, ...] = ()) -> None:
        for key in mapping:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise BadSheet(f"{self.at(mapping, key)}: unknown key {key!r}; {hint}")
        for key in required:
            if key not in mapping:
                raise BadSheet(f"{self.where}:{mapping.lc.line + 1}: {key!r} is missing")

    def mapping(self, owner: CommentedMap, key: str) -> CommentedMap:
        body = owner[key]
        if not isinstance(body, CommentedMap):
            raise BadSheet(f"{self.at(owner, key)}: {key} must be a mapping, not {body!r}")
        return body

    def text(self, owner: CommentedMap, key: str) -> str:
        body = owner[key]
        if not isinstance(body, str) or not body.strip():
            raise BadSheet(f"{self.at(owner, key)}: {key} must be text that is not empty, not {body!r}")
        return str(body)

    def choice(self, owner: CommentedMap, key: str, known: tuple[Any, ...]) -> Any:
        if key not in owner:
            raise BadSheet(f"{self.where}:{owner.lc.line + 1}: {key!r} is missing; one of {', '.join(known)}")
        if owner[key] not in known:
            raise BadSheet(f"{self.at(owner, key)}: {key} is {owner[key]!r}; one of {', '.join(known)}")
        return owner[key]

    def switch(self, owner: CommentedMap, key: str) -> bool:
        body = owner.get(key, False)
        if not isinstance(body, bool):
            raise BadSheet(f"{self.at(owner, key)}: {key} must be true or false, not {body!r}")
        return body

    def slots(self, owner: CommentedMap) -> int:
        body = owner.get("slots", 1)
        if not isinstance(body, int) or isinstance(body, bool) or body < 1:
            raise BadSheet(f"{self.at(owner, 'slots')}: slots must be a whole number of at least 1, not {body!r}")
        return int(body)

    def distinct(self, document: CommentedMap, names: tuple[str, ...]) -> None:
        """Paths start with the name of a part, so two parts may not share one."""
        for name in ("power", *names):
            if (*names, "power").count(name) > 1:
                raise BadSheet(f"{self.where}:{document.lc.line + 1}: two parts are called {name!r}; names must differ")

    def at(self, mapping: CommentedMap, key: Any) -> str:
        try:
            return f"{self.where}:{mapping.lc.key(key)[0] + 1}"
        except (KeyError, TypeError, AttributeError):
            return f"{self.where}:{mapping.lc.line + 1}"
