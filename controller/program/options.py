"""Options of a strategy: a frozen dataclass of typed values, read from text once.

    @dataclass(frozen=True)
    class InstInferOptions(Options):
        mini_batches: Count = option(2, "parts of the batch that take turns")
        utilisation: Share = option(0.9, "share of a device's memory that the server takes")
        host_step: Duration = option("5 ms", "host time of an iteration")
        save: Choice = option("all", "activations kept for backward", choices=("all", "inputs"))
        gpus: Count | None = option(None, "GPUs that train", absent="all of the topology")

Values are in base units: seconds, bytes, shares. What has a syntax of its own is ``Annotated[T, Parsed(read, write)]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NoReturn, Self, get_args, get_type_hints

from controller.errors import BadWorkload
from controller.nearest import nearest
from controller.program.option_kinds import (
    Choice,
    Count,
    Duration,
    Kind,
    Parsed,
    Rule,
    Share,
    Size,
    Switch,
    Text,
    number_of,
    whole_of,
)
from node.errors import BadQuantity

__all__ = [
    "Choice", "Count", "Duration", "Options", "Parsed", "Share", "Size", "Switch", "Text", "number_of", "option",
    "whole_of",
]  # fmt: skip

_KEY = "option"
MOST_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


def option(
    default: object, what: str, *, least: float = 1, most: float | None = None, choices: tuple[str, ...] = (),
    absent: str = "",
) -> Any:  # fmt: skip
    """A field of `Options`.

    Args:
        default: a value, or a text that is read like a given one; None where nothing is assumed.
        what: explanation for people, without the default.
        least: smallest `Count`.
        most: largest value in base units; 1e9 of a `Count`, 1 of a `Share`, and of a `Duration` or `Size` what a device
            can have at all unless told otherwise.
        choices: of a `Choice`.
        absent: what holds where the default is None, in words.
    """
    return field(default=default, metadata={_KEY: Rule(default, what, least, most, choices, absent)})


@dataclass(frozen=True)
class Options(Mapping[str, str]):
    """Root of the options of every strategy; alone, the options of one that has none.

    As a mapping it is what was given, text by name: what is not there has its default.

    Attributes:
        given: the texts.
    """

    given: Mapping[str, str] = field(default_factory=dict, kw_only=True, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, (kind, rule) in _declared(type(self)).items():
            value = getattr(self, name)
            if value is None and rule.default is None:
                continue
            object.__setattr__(self, name, _read(name, kind, rule, value))

    def __getitem__(self, name: str) -> str:
        return self.given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)

    @classmethod
    def read(cls, given: Mapping[str, str], owner: str = "this strategy") -> Self:
        """The values of texts.

        Args:
            given: texts by name.
            owner: whose options they are, for the message.

        Raises:
            BadWorkload: an unknown option, or a text that is no value of its option.
        """
        known = _declared(cls)
        for name in given:
            if name not in known:
                hint = nearest(name, known, "it has")
                raise BadWorkload(f"{owner} has no option {name!r}; {hint}")
        values: dict[str, Any] = dict(given)
        return cls(**values, given=dict(given))

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """The options of a scenario: as they are, or read from texts.

        Raises:
            BadWorkload: as `read`.
        """
        return options if isinstance(options, cls) else cls.read(options)

    @classmethod
    def explained(cls) -> dict[str, str]:
        """Name of each option to its explanation with unit and default, for help."""
        return {name: _explained(kind, rule) for name, (kind, rule) in _declared(cls).items()}


@cache
def _declared(cls: type[Options]) -> dict[str, tuple[Kind, Rule]]:
    hints = get_type_hints(cls, include_extras=True)
    return {
        each.name: (_kind(cls, each.name, hints[each.name]), each.metadata[_KEY])
        for each in fields(cls)
        if _KEY in each.metadata
    }


def _kind(cls: type[Options], name: str, hint: Any) -> Kind:
    """The kind of an annotation: of itself, or of the part of a union that has one."""
    for part in (hint, *get_args(hint)):
        for extra in getattr(part, "__metadata__", ()):
            if hasattr(extra, "read"):
                kind: Kind = extra
                return kind
    raise TypeError(f"{cls.__name__}.{name} is annotated as {hint}; write Count, Share, Duration, Size, Choice, ...")


def _read(name: str, kind: Kind, rule: Rule, value: object) -> Any:
    if not isinstance(value, str):
        if not kind.allows(value, rule):
            _refuse(name, kind, rule, value)
        return value
    try:
        found = kind.read(value, rule)
    except BadQuantity as error:
        _refuse(name, kind, rule, value, f" ({str(error).partition(';')[0]})")
    except ValueError:
        _refuse(name, kind, rule, value)
    if not kind.allows(found, rule):
        _refuse(name, kind, rule, value)
    return found


def _refuse(name: str, kind: Kind, rule: Rule, value: object, why: str = "") -> NoReturn:
    shown = repr(value)
    if len(shown) > MOST_SHOWN:
        shown, why = f"{shown[:MOST_SHOWN]}...", ""
    raise BadWorkload(f"option {name} is {shown}; write {kind.write(rule)}{why}") from None


def _explained(kind: Kind, rule: Rule) -> str:
    default = rule.absent if rule.default is None else rule.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    unit = kind.unit(rule)
    told = "" if default == "" else f"default {default}"
    if rule.choices or unit == "on or off":
        return f"{unit}: {rule.what} ({told})" if told else f"{unit}: {rule.what}"
    told = ", ".join(part for part in (unit, told) if part)
    return f"{rule.what} ({told})" if told else rule.what
