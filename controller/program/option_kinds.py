"""How a value of an option is read from text, what it may be, and what to write instead of a wrong one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from node.hardware.units import PHYSICAL, format_quantity, parse

MOST_COUNT = 10**9
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """What `option` says."""

    default: object
    what: str
    least: float
    most: float | None
    choices: tuple[str, ...]
    absent: str


class Kind(Protocol):
    """How a value is read from text."""

    def read(self, text: str, rule: Rule) -> Any:
        """The value. Raises ValueError or BadQuantity for a text that is not one."""

    def allows(self, value: Any, rule: Rule) -> bool:
        """Whether a value keeps the rule."""

    def write(self, rule: Rule) -> str:
        """What to write, for a message."""

    def unit(self, rule: Rule) -> str:
        """What kind of value it is, for help; "" where the explanation says it."""


class _Whole:
    def read(self, text: str, rule: Rule) -> int:
        return whole_of(text)

    def allows(self, value: Any, rule: Rule) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and rule.least <= value <= self._most(rule)

    def write(self, rule: Rule) -> str:
        return f"a whole number of at least {rule.least:g} and at most {self._most(rule):,.0f}"

    def unit(self, rule: Rule) -> str:
        return ""

    def _most(self, rule: Rule) -> float:
        return MOST_COUNT if rule.most is None else rule.most


class _Ratio:
    def read(self, text: str, rule: Rule) -> float:
        return number_of(text)

    def allows(self, value: Any, rule: Rule) -> bool:
        # A comparison with what is not a number is false, so that it is refused here too.
        return isinstance(value, float | int) and not isinstance(value, bool) and 0.0 < value <= self._most(rule)

    def write(self, rule: Rule) -> str:
        return f"a share of more than 0 and at most {self._most(rule):g}, for example 0.125"

    def unit(self, rule: Rule) -> str:
        return "a share"

    def _most(self, rule: Rule) -> float:
        return 1.0 if rule.most is None else rule.most


@dataclass(frozen=True, slots=True)
class _Quantity:
    dimension: str
    name: str
    example: str

    def read(self, text: str, rule: Rule) -> float | int:
        value = float(parse(text, self.dimension))
        return int(value) if self.dimension == "bytes" else value

    def allows(self, value: Any, rule: Rule) -> bool:
        return isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value <= self._most(rule)

    def write(self, rule: Rule) -> str:
        most = format_quantity(self._most(rule), self.dimension)
        return f"{self.name} of 0 or more with its unit, for example '{self.example}', and at most {most}"

    def unit(self, rule: Rule) -> str:
        return self.name

    def _most(self, rule: Rule) -> float:
        return PHYSICAL[self.dimension][1] if rule.most is None else rule.most


class _OneOf:
    def read(self, text: str, rule: Rule) -> str:
        return text

    def allows(self, value: Any, rule: Rule) -> bool:
        return value in rule.choices

    def write(self, rule: Rule) -> str:
        return f"one of {', '.join(rule.choices)}" if len(rule.choices) > 1 else rule.choices[0]

    def unit(self, rule: Rule) -> str:
        *most, last = rule.choices
        return f"{', '.join(most)} or {last}" if most else last


class _OnOff:
    def read(self, text: str, rule: Rule) -> bool:
        if text not in ("on", "off"):
            raise ValueError(text)
        return text == "on"

    def allows(self, value: Any, rule: Rule) -> bool:
        return isinstance(value, bool)

    def write(self, rule: Rule) -> str:
        return "on or off"

    def unit(self, rule: Rule) -> str:
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

    def read(self, text: str, rule: Rule) -> Any:
        """The value of a text."""
        return self.reader(text)

    def allows(self, value: Any, rule: Rule) -> bool:
        """Whatever the reader gave."""
        return True

    def write(self, rule: Rule) -> str:
        """The syntax."""
        return self.syntax

    def unit(self, rule: Rule) -> str:
        """Left to the explanation."""
        return ""


def whole_of(text: str, least: int = 0, most: int | None = None) -> int:
    """The whole number that `text` writes in decimal digits.

    Raises:
        ValueError: it writes none, or one below `least` or above `most`.
    """
    if not (text.isascii() and text.isdigit() and int(text) >= least and (most is None or int(text) <= most)):
        raise ValueError(text)
    return int(text)


def number_of(text: str) -> float:
    """The number that `text` writes in plain decimal digits.

    Raises:
        ValueError: it writes none.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


Count = Annotated[int, _Whole()]
Share = Annotated[float, _Ratio()]
Duration = Annotated[float, _Quantity("s", "a time", "5 ms")]
Size = Annotated[int, _Quantity("bytes", "a size", "34 GB")]
Choice = Annotated[str, _OneOf()]
Switch = Annotated[bool, _OnOff()]
Text = Annotated[str, Parsed(str, "a text")]
