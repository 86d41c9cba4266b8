"""Values: tensors that live between two ops of a script, on a device and tier but without an address."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NoReturn

from controller.errors import BadPlan
from controller.plan.size import Affine, Size
from node.hardware.operation import ITEM_BYTES

_HOUSE = str(Path(__file__).parents[1])
_STRATEGIES = str(Path(__file__).parents[1] / "strategies")
_IS_HOUSE: dict[str, bool] = {}
"""File to whether it is part of windtunnel and not of a strategy, whose lines errors name."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tier of a device."""

    device: str
    tier: str

    def __str__(self) -> str:
        return f"{self.device}.{self.tier}"


class Value:
    """A tensor that lives between two ops of one script, or a contiguous part of one.

    Attributes:
        script: the script whose ops made it.
        number: of the value in its script; its parts and reshaped forms share it.
        place: the tier that holds it.
        dtype, shape: of the tensor; extents may be open.
        offset_bytes: start of a part within the whole value [bytes].
    """

    __slots__ = ("dtype", "number", "offset_bytes", "place", "script", "shape")

    def __init__(
        self, script: object, number: int, place: Place, dtype: str, shape: tuple[Size, ...], offset_bytes: Size = 0
    ) -> None:
        self.script, self.number, self.place = script, number, place
        self.dtype, self.shape, self.offset_bytes = dtype, shape, offset_bytes

    def reshape(self, *shape: Size) -> Value:
        """The same bytes under another shape.

        Raises:
            BadPlan: the number of elements differs.
        """
        if _known(shape) and _known(self.shape) and prod(map(_number, shape)) != prod(map(_number, self.shape)):
            refuse(f"a value of shape {self.shape} cannot become {shape}; keep the number of elements")
        return Value(self.script, self.number, self.place, self.dtype, shape, self.offset_bytes)

    def rows(self, start: int, stop: int) -> Value:
        """Rows ``start:stop`` of the first axis.

        Raises:
            BadPlan: the value has no such rows.
        """
        first = self.shape[0] if self.shape else 0
        if start < 0 or stop < start or (not isinstance(first, Affine) and stop > first):
            refuse(f"a value of shape {self.shape} has no rows {start} to {stop}")
        width = 1
        for extent in self.shape[1:]:
            width = width * _number(extent)
        return self.part(start * width, (stop - start, *self.shape[1:]))

    def part(self, start: Size, shape: tuple[Size, ...]) -> Value:
        """A contiguous part from element `start` on, which may be open, as a tensor of `shape`."""
        offset = self.offset_bytes
        if start:
            step = start * ITEM_BYTES[self.dtype]
            if not isinstance(offset, Affine):
                offset = step + offset
            elif not isinstance(step, Affine):
                offset = offset + step
            else:
                refuse("a part of a part may have one open offset, not two")
        return Value(self.script, self.number, self.place, self.dtype, shape, offset)


def refuse(what: str) -> NoReturn:
    """Raises BadPlan with the line of the strategy that is at work."""
    raise BadPlan(f"{author_line()}: {what}") from None


def author_line() -> str:
    """File and line of the innermost caller that is a strategy or a user's own code."""
    code, line = author()
    return f"{code}:{line}"


def author() -> tuple[str, int]:
    """File and line of the innermost caller outside of the parts that scripts are made of."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        house = _IS_HOUSE.get(file)
        if house is None:
            house = _IS_HOUSE[file] = file.startswith(_HOUSE) and not file.startswith(_STRATEGIES)
        if not house:
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _known(shape: tuple[Size, ...]) -> bool:
    return not any(isinstance(extent, Affine) for extent in shape)


def _number(extent: Size) -> int:
    if isinstance(extent, Affine):
        refuse(f"open extent {extent} where a number is needed")
    return extent
