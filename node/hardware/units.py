"""Text to base units and back: the only file that knows 1e9 and 1024.

Inside windtunnel a quantity is a float in base units (bytes, bytes/s, s, FLOP, FLOP/s, W, J, Hz; rent in USD/h); at
the door it is text with a unit (``400 Gb/s``, ``80 GiB``, ``2 us``). k, M, G, T, P are decimal, Ki, Mi, Gi, Ti, Pi
binary, b is bits and B bytes. `parse` and `format_quantity` are inverse functions: ``parse(format_quantity(x, d), d)
== x`` to the last bit, since both scale exactly (`fractions`, `decimal`) and round once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from node.errors import BadQuantity

KIBI, GIBI = 2**10, 2**30
MICRO, KILO, MEGA, GIGA, TERA = 1e-6, 1e3, 1e6, 1e9, 1e12

_LARGE = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_SMALL = {"n": -9, "u": -6, "m": -3}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5}


def _decimal(symbol: str, prefixes: Mapping[str, int], scale: Fraction = Fraction(1)) -> dict[str, Fraction]:
    return {prefix + symbol: Fraction(10) ** power * scale for prefix, power in prefixes.items()}


def _binary(symbol: str, scale: Fraction = Fraction(1)) -> dict[str, Fraction]:
    return {prefix + symbol: Fraction(1024) ** power * scale for prefix, power in _BINARY.items()}


_BIT = Fraction(1, 8)
UNITS: Mapping[str, Mapping[str, Fraction]] = {
    "bytes": {**_decimal("B", _LARGE), **_binary("B"), **_decimal("b", _LARGE, _BIT), **_binary("b", _BIT)},
    "bytes/s": {
        **_decimal("B/s", _LARGE), **_binary("B/s"), **_decimal("b/s", _LARGE, _BIT), **_binary("b/s", _BIT),
    },
    "s": {
        **_decimal("s", {"": 0, **_SMALL}), "µs": Fraction(1, 10**6),
        "min": Fraction(60), "h": Fraction(3600), "d": Fraction(86400),
    },
    "FLOP": _decimal("FLOP", {**_LARGE, "E": 18}),
    "FLOP/s": _decimal("FLOP/s", {**_LARGE, "E": 18}),
    "W": _decimal("W", {**_LARGE, **_SMALL}),
    "J": _decimal("J", {**_LARGE, **_SMALL}),
    "Hz": _decimal("Hz", _LARGE),
    "ratio": {"": Fraction(1), "%": Fraction(1, 100)},
    "count": {"": Fraction(1)},
    "USD/h": {"USD/h": Fraction(1)},
}  # fmt: skip
"""Dimension -> unit -> how many base units it is, exactly."""

_EXAMPLE: Mapping[str, str] = {
    "bytes": "80 GiB", "bytes/s": "400 Gb/s", "s": "2 us", "FLOP": "1.5 TFLOP", "FLOP/s": "154.8 TFLOP/s", "W": "300 W",
    "J": "2 J", "Hz": "1.41 GHz", "ratio": "0.9", "count": "84", "USD/h": "11.06 USD/h",
}  # fmt: skip
_BARE_UNIT: Mapping[str, str] = {
    "bytes": "GiB", "bytes/s": "GB/s", "s": "us", "FLOP": "GFLOP", "FLOP/s": "TFLOP/s", "W": "W", "J": "J", "Hz": "GHz",
    "USD/h": "USD/h",
}  # fmt: skip
PHYSICAL: Mapping[str, tuple[float, float]] = {
    "bytes": (0.125, 1e18), "bytes/s": (0.125, 1e18), "s": (1e-15, 1e9), "FLOP": (1, 1e30), "FLOP/s": (1, 1e21),
    "W": (1e-9, 1e9), "J": (1e-15, 1e15), "Hz": (1e-3, 1e15), "ratio": (1e-9, 1e9), "count": (1e-9, 1e9),
    "USD/h": (1e-9, 1e9),
}  # fmt: skip
"""Dimension -> least and most above 0 that any device or link can have; beyond it arithmetic loses digits."""
_QUANTITY = re.compile(r"^\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(\S*)\s*$")
_EXACT = Context(prec=400)


def dimensions() -> tuple[str, ...]:
    """The dimensions that `parse` and `format_quantity` take."""
    return tuple(UNITS)


@lru_cache(maxsize=4096)
def parse(text: str, dimension: str) -> float:
    """The quantity behind `text` in base units.

    Args:
        text: a number and a unit, ``400 Gb/s``; for ``ratio`` and ``count`` a number alone.
        dimension: what it must be: one of `dimensions`.

    Returns:
        The value, not negative and finite; an `int` when it is a whole number of bytes, so that sizes stay exact.

    Raises:
        BadQuantity: no number, no unit, an unknown unit, a unit of another dimension, or a negative value.
    """
    units = _units_of(dimension)
    if not isinstance(text, str):
        raise BadQuantity(f"{text!r} has no unit; write it as text, for example {_EXAMPLE[dimension]!r} ({dimension})")
    match = _QUANTITY.match(text)
    if match is None:
        raise BadQuantity(
            f"{text!r} is not a valid quantity; write a number and a unit, for example {_EXAMPLE[dimension]!r} "
            f"({dimension})"
        )
    number, unit = match.groups()
    if unit not in units:
        raise BadQuantity(_unit_complaint(text, number, unit, dimension))
    value = Fraction(Decimal(number)) * units[unit]
    if value < 0:
        raise BadQuantity(f"{text!r} is negative; a quantity in {dimension} is 0 or more")
    if dimension == "bytes" and value.denominator == 1:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        raise BadQuantity(f"{text!r} is too large for a 64-bit float; check its exponent") from None


def unphysical(value: float, dimension: str) -> str:
    """What is wrong with `value` as a property of hardware, in base units; "" when nothing is. 0 is left to others."""
    least, most = PHYSICAL[dimension]
    if not value or least <= value <= most:
        return ""
    shown = {"ratio": "", "count": "", "bytes": " B", "bytes/s": " B/s"}.get(dimension, f" {dimension}")
    return f"no hardware has that; it must lie between {least:g}{shown} and {most:g}{shown}"


def format_bytes(nbytes: float, digits: int = 4) -> str:
    """A size rounded to `digits` significant digits with a decimal unit: ``2.202 TB``, never MiB beside GB [bytes]."""
    return format_quantity(float(f"{nbytes:.{digits}g}"), "bytes/s").removesuffix("/s")


def format_quantity(value: float, dimension: str) -> str:
    """`value` as text that `parse` turns into exactly `value` again.

    Whole numbers of bytes that a binary prefix divides evenly use it (``80 GiB``); everything else is decimal.

    Args:
        value: quantity in base units, finite and not negative.
        dimension: one of `dimensions`.

    Raises:
        BadQuantity: `value` is negative, infinite or not a number.
    """
    units = _units_of(dimension)
    if not (math.isfinite(value) and value >= 0):
        raise BadQuantity(f"{value!r} {dimension} is not a valid quantity: it must be finite and 0 or more")
    if dimension in ("ratio", "count"):
        return _plain(_decimal_of(value))
    if dimension == "bytes" and value == int(value):
        value = int(value)
        for prefix in reversed(_BINARY):
            whole, rest = divmod(int(value), int(units[prefix + "B"]))
            if whole and not rest:
                return f"{whole} {prefix}B"
    symbol = {"bytes": "B", "bytes/s": "B/s"}.get(dimension, dimension)
    exact = _decimal_of(value)
    chosen, power = _prefix_for(exact, symbol, units)
    return f"{_plain(_EXACT.scaleb(exact, -power))} {chosen}{symbol}"


def _units_of(dimension: str) -> Mapping[str, Fraction]:
    if dimension not in UNITS:
        raise BadQuantity(f"unknown dimension {dimension!r}; known: {', '.join(UNITS)}")
    return UNITS[dimension]


def _decimal_of(value: float) -> Decimal:
    """The shortest decimal that rounds to `value`; an int exactly."""
    return Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))


def _prefix_for(value: Decimal, symbol: str, units: Mapping[str, Fraction]) -> tuple[str, int]:
    """The largest prefix that leaves at least 1 before the point, and its power of ten."""
    ladder = [(p, e) for p, e in {**_SMALL, **_LARGE, "E": 18}.items() if p + symbol in units]
    ladder.sort(key=lambda item: item[1])
    fitting = [(prefix, power) for prefix, power in ladder if value >= Decimal(1).scaleb(power)]
    if fitting:
        return fitting[-1]
    return ("", 0) if not value else ladder[0]


def _plain(value: Decimal) -> str:
    """Digits without trailing zeros; an exponent only where plain digits would be many."""
    value = value.normalize(_EXACT)
    exponent = value.as_tuple().exponent
    plain = isinstance(exponent, int) and -25 <= exponent <= 25
    return f"{value:f}" if plain else f"{value:e}"


def _unit_complaint(text: str, number: str, unit: str, dimension: str) -> str:
    units = UNITS[dimension]
    if not unit:
        return f"{text!r} has no unit; write for example '{number} {_BARE_UNIT[dimension]}' ({dimension})"
    elsewhere = [name for name, table in UNITS.items() if unit in table]
    if elsewhere:
        return (
            f"{text!r} is in {elsewhere[0]}, but {dimension} is meant here; write for example {_EXAMPLE[dimension]!r}"
        )
    folded = {known.lower(): known for known in reversed(list(units))}
    near = difflib.get_close_matches(unit.lower(), folded, n=1)
    hint = f"did you mean {folded[near[0]]!r}? " if near else ""
    return f"{text!r} has the unknown unit {unit!r}; {hint}write for example {_EXAMPLE[dimension]!r} ({dimension})"
