"""Sizes that a plan leaves open until it is bound: the context length of a decode step.

A plan is built once; where a shape, an offset or an attribute depends on the step it holds an `Affine`, and binding
puts numbers in. One symbol each: a program computes every symbol of a step itself, so that a plan needs no algebra.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.errors import BadPlan, UnboundParameter


@dataclass(frozen=True, slots=True)
class Affine:
    """``scale * symbol + offset``, an integer once the symbol is bound."""

    symbol: str
    scale: int = 1
    offset: int = 0

    def __str__(self) -> str:
        scaled = self.symbol if self.scale == 1 else f"{self.scale}*{self.symbol}"
        return scaled if not self.offset else f"{scaled} {'-' if self.offset < 0 else '+'} {abs(self.offset)}"

    def __mul__(self, factor: int) -> Affine:
        return Affine(self.symbol, self.scale * factor, self.offset * factor)

    __rmul__ = __mul__

    def __add__(self, term: int) -> Affine:
        return Affine(self.symbol, self.scale, self.offset + term)

    __radd__ = __add__

    def __sub__(self, term: int) -> Affine:
        return self + -term


Size = int | Affine
Bindings = Mapping[str, int]


def symbol(name: str) -> Affine:
    """The open size called `name`."""
    return Affine(name)


def product(extents: Iterable[Size]) -> Size:
    """The product of extents, of which one may be open.

    Raises:
        BadPlan: two of them are open.
    """
    closed, opened = 1, list[Affine]()
    for extent in extents:
        if isinstance(extent, Affine):
            opened.append(extent)
        else:
            closed *= extent
    if len(opened) > 1:
        raise BadPlan(f"the product of {' and '.join(map(str, opened))} is open in both; bind one of them before")
    return opened[0] * closed if opened else closed


def bind_size(size: Size, bindings: Bindings) -> int:
    """The number behind `size`.

    Raises:
        UnboundParameter: `bindings` lacks its symbol.
    """
    if isinstance(size, Affine):
        if size.symbol not in bindings:
            raise UnboundParameter(
                f"the plan needs a value for {size.symbol!r}; bound here: {sorted(bindings) or 'nothing'}"
            )
        return size.scale * bindings[size.symbol] + size.offset
    return size
