"""Options that are numbers."""

from __future__ import annotations

from math import isfinite

from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from node.errors import BadQuantity
from node.hardware.units import parse


def quantity_option(scenario: Scenario, name: str, dimension: str, default: float) -> float:
    """A quantity with its unit, in base units, of 0 or more.

    Raises:
        BadWorkload: it is none.
    """
    text = scenario.options.get(name)
    if text is None:
        return default
    try:
        value = float(parse(text, dimension))
    except BadQuantity as error:
        raise BadWorkload(f"option {name}: {error}") from error
    if value < 0:
        raise BadWorkload(f"option {name} is {text}; it cannot be less than 0")
    return value


def share_option(scenario: Scenario, name: str, default: float) -> float:
    """A share of more than 0 and at most 1.

    Raises:
        BadWorkload: it is none.
    """
    text = scenario.options.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and 0 < value <= 1):
        raise BadWorkload(f"option {name} is {text!r}; write a share of more than 0 and at most 1, for example 0.9")
    return value


def whole_option(scenario: Scenario, name: str, default: int) -> int:
    """A whole number of at least 0.

    Raises:
        BadWorkload: it is none.
    """
    text = scenario.options.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) > 10**9:
        raise BadWorkload(f"option {name} is {text!r}; write a whole number of 0 to 1000000000")
    return int(text)
