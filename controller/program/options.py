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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Protocol, Self, get_args, get_type_hints

from controller.errors import BadWorkload
from node.errors import BadQuantity
from node.hardware.units import parse

MOST_COUNT = 10**9
_KEY = "option"


@dataclass(frozen=True, slots=True)
class _Rule:
    """What `option` says."""

    default: object
    what: str
    least: float
    most: float | None
    choices: tuple[str, ...]
    absent: str


class Kind(Protocol):
    """How a value is read from text."""

    def read(self, text: str, rule: _Rule) -> Any:
        """The value; ValueError or BadQuantity where the text is none."""

    def allows(self, value: Any, rule: _Rule) -> bool:
        """Whether a value keeps the rule."""

    def write(self, rule: _Rule) -> str:
        """What to write, for a message."""

    def unit(self, rule: _Rule) -> str:
        """What kind of value it is, for help; "" where the explanation says it."""


class _Whole:
    def read(self, text: str, rule: _Rule) -> int:
        if not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        return int(text)

    def allows(self, value: Any, rule: _Rule) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and rule.least <= value <= self._most(rule)

    def write(self, rule: _Rule) -> str:
        return f"a whole number of at least {rule.least:g} and at most {self._most(rule):.0f}"

    def unit(self, rule: _Rule) -> str:
        return ""

    def _most(self, rule: _Rule) -> float:
        return MOST_COUNT if rule.most is None else rule.most


class _Ratio:
    def read(self, text: str, rule: _Rule) -> float:
        return float(text)

    def allows(self, value: Any, rule: _Rule) -> bool:
        # A comparison with what is not a number is false, so that it is refused here too.
        return isinstance(value, float | int) and 0.0 < value <= self._most(rule)

    def write(self, rule: _Rule) -> str:
        return f"a share of more than 0 and at most {self._most(rule):g}, for example 0.125"

    def unit(self, rule: _Rule) -> str:
        return "a share"

    def _most(self, rule: _Rule) -> float:
        return 1.0 if rule.most is None else rule.most


@dataclass(frozen=True, slots=True)
class _Quantity:
    dimension: str
    name: str
    example: str

    def read(self, text: str, rule: _Rule) -> float | int:
        value = float(parse(text, self.dimension))
        return int(value) if self.dimension == "bytes" else value

    def allows(self, value: Any, rule: _Rule) -> bool:
        return isinstance(value, float | int) and value >= 0

    def write(self, rule: _Rule) -> str:
        return f"{self.name} of 0 or more with its unit, for example '{self.example}'"

    def unit(self, rule: _Rule) -> str:
        return self.name


class _OneOf:
    def read(self, text: str, rule: _Rule) -> str:
        return text

    def allows(self, value: Any, rule: _Rule) -> bool:
        return value in rule.choices

    def write(self, rule: _Rule) -> str:
        return f"one of {', '.join(rule.choices)}"

    def unit(self, rule: _Rule) -> str:
        *most, last = rule.choices
        return f"{', '.join(most)} or {last}" if most else last


class _OnOff:
    def read(self, text: str, rule: _Rule) -> bool:
        if text not in ("on", "off"):
            raise ValueError(text)
        return text == "on"

    def allows(self, value: Any, rule: _Rule) -> bool:
        return isinstance(value, bool)

    def write(self, rule: _Rule) -> str:
        return "one of on, off"

    def unit(self, rule: _Rule) -> str:
        return "on or off"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A value with a syntax of its own.

    Attributes:
        reader: value of a text; raises ValueError or BadQuantity for an invalid one.
        syntax: what to write, for messages.
    """

    reader: Callable[[str], Any]
    syntax: str

    def read(self, text: str, rule: _Rule) -> Any:
        """The value of a text."""
        return self.reader(text)

    def allows(self, value: Any, rule: _Rule) -> bool:
        """Whatever the reader gave."""
        return True

    def write(self, rule: _Rule) -> str:
        """The syntax."""
        return self.syntax

    def unit(self, rule: _Rule) -> str:
        """Left to the explanation."""
        return ""


Count = Annotated[int, _Whole()]
Share = Annotated[float, _Ratio()]
Duration = Annotated[float, _Quantity("s", "a time", "5 ms")]
Size = Annotated[int, _Quantity("bytes", "a size", "34 GB")]
Choice = Annotated[str, _OneOf()]
Switch = Annotated[bool, _OnOff()]
Text = Annotated[str, Parsed(str, "a text")]


def option(
    default: object, what: str, *, least: float = 1, most: float | None = None, choices: tuple[str, ...] = (),
    absent: str = "",
) -> Any:  # fmt: skip
    """A field of `Options`.

    Args:
        default: a value, or a text that is read like a given one; None where nothing is assumed.
        what: explanation for people, without the default.
        least: smallest `Count`.
        most: largest `Count` or `Share`; 1e9 and 1 unless told otherwise.
        choices: of a `Choice`.
        absent: what holds where the default is None, in words.
    """
    return field(default=default, metadata={_KEY: _Rule(default, what, least, most, choices, absent)})


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
                close = get_close_matches(name, known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known) or 'none'}"
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
def _declared(cls: type[Options]) -> dict[str, tuple[Kind, _Rule]]:
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


def _read(name: str, kind: Kind, rule: _Rule, value: object) -> Any:
    why = ""
    if isinstance(value, str):
        try:
            found = kind.read(value, rule)
        except BadQuantity as error:
            found, why = None, f" ({str(error).partition(';')[0]})"
        except ValueError:
            found, why = None, " "
    else:
        found = value
    if why or not kind.allows(found, rule):
        raise BadWorkload(f"option {name} is {value!r}; write {kind.write(rule)}{why.rstrip()}")
    return found


def _explained(kind: Kind, rule: _Rule) -> str:
    default = rule.absent if rule.default is None else rule.default
    if isinstance(default, bool):
        default = "on" if default else "off"
    unit = kind.unit(rule)
    if rule.choices or unit == "on or off":
        return f"{unit}: {rule.what} (default {default})"
    told = ", ".join(part for part in (unit, f"default {default}" if default != "" else "") if part)
    return f"{rule.what} ({told})" if told else rule.what
