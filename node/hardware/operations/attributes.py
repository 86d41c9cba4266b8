"""Attributes of a launch: unknown, missing and wrongly typed ones are errors, absent ones get their default."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import cast

from node.errors import BadAttribute
from node.hardware.operation import Attributes, AttributeValue, Operation

Declared = Mapping[str, tuple[type, AttributeValue | None]]


class CompleteAttributes(dict[str, AttributeValue]):
    """Every attribute of one operation, checked; knows whose it is, so that it is not checked twice."""

    __slots__ = ("operation",)

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation

    def integer(self, name: str) -> int:
        """The attribute `name`, which the operation declares as an integer."""
        return cast(int, self[name])

    def number(self, name: str) -> float:
        """The attribute `name`, which the operation declares as a number."""
        return cast(float, self[name])

    def integers(self, name: str) -> tuple[int, ...]:
        """The attribute `name`, which the operation declares as a tuple of integers."""
        return cast("tuple[int, ...]", self[name])

    def text(self, name: str) -> str:
        """The attribute `name`, which the operation declares as text."""
        return cast(str, self[name])


def complete(operation: str, declared: Declared, given: Attributes) -> CompleteAttributes:
    """`given` with the defaults of `declared` filled in.

    Raises:
        BadAttribute: one is unknown, missing, or of the wrong type.
    """
    if type(given) is CompleteAttributes and given.operation == operation:
        return given
    result = CompleteAttributes(operation)
    known = 0
    for name, (kind, default) in declared.items():
        if name in given:
            known += 1
            value = given[name]
            if type(value) is not kind or kind is float or kind is tuple:
                value = _typed(operation, name, kind, value)
            result[name] = value
        elif default is None:
            raise BadAttribute(
                f"{operation}: attribute {name!r} is missing; it takes {_listing(declared)}, "
                f"given were {sorted(given) or 'none'}"
            )
        else:
            result[name] = default
    if known != len(given):
        unknown = next(name for name in given if name not in declared)
        close = get_close_matches(unknown, declared, 1)
        hint = f"; did you mean {close[0]!r}" if close else ""
        raise BadAttribute(f"{operation}: unknown attribute {unknown!r}{hint}; it takes {_listing(declared)}")
    return result


def complete_attributes(operation: Operation, attributes: Attributes) -> CompleteAttributes:
    """Every attribute of `operation`: those given, and the defaults of the others.

    Raises:
        BadAttribute: one is unknown, missing, or of the wrong type.
    """
    return complete(operation.name, operation.attributes, attributes)


def _typed(operation: str, name: str, kind: type, value: AttributeValue) -> AttributeValue:
    if kind is float and type(value) in (int, float):
        number = float(cast(float, value))
        if isfinite(number):
            return number
    elif kind is tuple and type(value) is tuple and all(type(item) is int for item in value):
        return value
    expected = {int: "an integer", bool: "true or false", str: "a text", float: "a finite number"}
    raise BadAttribute(
        f"{operation}: attribute {name!r} is {value!r}, expected {expected.get(kind, 'a tuple of integers')}"
    )


def _listing(declared: Declared) -> str:
    if not declared:
        return "no attributes"
    return ", ".join(name if default is None else f"{name}={default!r}" for name, (_, default) in declared.items())
