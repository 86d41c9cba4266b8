"""Values: tensors that live between two ops of a script, on a device and tier but without an address."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd

from controller.plan.author import refuse
from controller.plan.size import Affine, Size
from node.hardware.operation import ITEM_BYTES


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

    def __repr__(self) -> str:
        return f"<value {self.dtype} {extents(self.shape)} in {self.place}>"

    def reshape(self, *shape: Size) -> Value:
        """The same bytes under another shape.

        Raises:
            BadPlan: the number of elements differs.
        """
        _check_sizes(f"reshape got {shape}; give the extents one by one, as in reshape(2, 3)", shape)
        wanted, own = _elements(shape), _elements(self.shape)
        # One symbol may be what others come to, so that only products of the same symbols compare.
        if {one.symbol for one in wanted[1]} == {one.symbol for one in own[1]} and wanted != own:
            refuse(
                f"a value of shape {extents(self.shape)} cannot become {extents(shape)}; keep the number of elements"
            )
        return Value(self.script, self.number, self.place, self.dtype, shape, self.offset_bytes)

    def rows(self, start: int, stop: int) -> Value:
        """Rows ``start:stop`` of the first axis.

        Raises:
            BadPlan: the value has no such rows.
        """
        if type(start) is not int or type(stop) is not int:
            refuse(f"rows {start!r} to {stop!r} are no whole numbers; take an open range with part(start, shape)")
        first = self.shape[0] if self.shape else 0
        if start < 0 or stop < start or (not isinstance(first, Affine) and stop > first):
            refuse(f"a value of shape {extents(self.shape)} has no rows {start} to {stop}")
        width = 1
        for extent in self.shape[1:]:
            width = width * _number(extent)
        return self.part(start * width, (stop - start, *self.shape[1:]))

    def part(self, start: Size, shape: tuple[Size, ...]) -> Value:
        """A contiguous part from element `start` on, which may be open, as a tensor of `shape`.

        Raises:
            BadPlan: it leaves the value, or a second offset is open.
        """
        _check_sizes(f"part got ({start!r}, {shape!r}); give the first element and a tuple of extents", shape, start)
        if not self._has(start, shape):
            refuse(f"a value of shape {extents(self.shape)} has no part of shape {extents(shape)} at element {start}")
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

    def _has(self, start: Size, shape: tuple[Size, ...]) -> bool:
        """Whether a part lies within the value, as far as it is known before binding."""
        first = 0 if isinstance(start, Affine) else start
        size = own = 1
        for extent in shape:
            size *= 0 if isinstance(extent, Affine) else extent
        for extent in self.shape:
            if isinstance(extent, Affine):
                return first >= 0
            own *= extent
        return first >= 0 and first + size <= own


def extents(shape: tuple[Size, ...]) -> str:
    """A shape as text, open extents by their formulas: ``(4, 2*n + 1)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _check_sizes(complaint: str, shape: object, start: object = 0) -> None:
    """Strategies are users' code, which no type checker has seen."""
    if not isinstance(shape, tuple) or not isinstance(start, int | Affine):
        refuse(complaint)
    for extent in shape:
        if not isinstance(extent, Affine) and (not isinstance(extent, int) or extent < 0):
            refuse(complaint)


def _elements(shape: tuple[Size, ...]) -> tuple[int, Counter[Affine]]:
    """Number of elements as a product: the known factor, and open factors that have no divisor in common."""
    known, factors = 1, Counter[Affine]()
    for extent in shape:
        if isinstance(extent, Affine):
            divisor = gcd(extent.scale, extent.offset) or 1
            known *= divisor
            factors[Affine(extent.symbol, extent.scale // divisor, extent.offset // divisor)] += 1
        else:
            known *= extent
    return known, factors


def _number(extent: Size) -> int:
    if isinstance(extent, Affine):
        refuse(f"open extent {extent} where a number is needed")
    return extent
