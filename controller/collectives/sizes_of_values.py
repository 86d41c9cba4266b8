"""What ranks give to a collective and get from it, as shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from controller.collectives.call import DTYPES
from controller.collectives.errors import BadCall
from controller.collectives.exchange import column_of
from controller.plan.ops import Buffer
from controller.plan.ranges import even_ranges
from controller.plan.script import Source
from controller.plan.signature import Kind
from controller.plan.size import Affine, Size
from controller.plan.value import Value

SUMS = ("all_reduce", "reduce_scatter")


def kind_of(operand: Source) -> Kind:
    """Element type and extents."""
    if isinstance(operand, Value | Buffer):
        return operand.dtype, operand.shape
    return operand.buffer.dtype, operand.shape


class Sizes:
    """Columns of what each rank gives and gets.

    Attributes:
        collective: its name.
        dtype: element type.
        widths: columns that each rank gives.
        count: columns of the longer side of a rank.
    """

    def __init__(self, collective: str, kinds: Sequence[Kind]) -> None:
        """Sizes of a collective.

        Args:
            collective: its name.
            kinds: of what each rank gives.

        Raises:
            BadCall: types or shapes that differ, that cannot be added, or with an open last axis.
        """
        self.collective = collective
        self.dtype, self._shape = kinds[0]
        if collective in SUMS and self.dtype not in DTYPES:
            raise BadCall(f"{collective} cannot add elements of type {self.dtype!r}; it can of {', '.join(DTYPES)}")
        for rank, (dtype, shape) in enumerate(kinds):
            if dtype != self.dtype or shape[:-1] != self._shape[:-1] or len(shape) != len(self._shape):
                raise BadCall(
                    f"{collective} of {self.dtype} {self._shape} at rank 0 and {dtype} {shape} at rank {rank}; give "
                    f"all ranks one type and one shape"
                )
        self._world_size = len(kinds)
        closed = [extent for extent in self._shape if not isinstance(extent, Affine)]
        narrow = len(closed) == len(self._shape) and closed[-1:] < [self._world_size]
        self._flat = len(self._shape) < 2 or narrow
        self.widths = [self._width(shape) for _, shape in kinds]
        self.count = sum(self.widths) if collective == "all_gather" else self.widths[0]
        if self.count == 0:
            raise BadCall(f"{collective} of the shape {self._shape}, which has no elements; give at least one")
        self._chunks = [stop - start for start, stop in even_ranges(self.count, self._world_size)]
        expected = self._chunks if collective == "all_gather" else [self.count] * self._world_size
        if collective == "barrier":
            expected = [1] * self._world_size
        if self.widths != expected:
            raise BadCall(
                f"{collective} of {self.widths} columns, by rank; it takes {expected}: reshape or pad what ranks give"
            )

    def extents(self, width: int) -> tuple[Size, ...]:
        """Extents of `width` columns, or elements, as an exchange has them."""
        return (width,) if self._flat else (column_of(self._shape), width)

    def result_width(self, rank: int) -> int:
        """Columns, or elements, that a rank gets."""
        if self.collective == "reduce_scatter":
            return self._chunks[rank]
        if self.collective == "all_to_all":
            return self._chunks[rank] * self._world_size
        return self._world_size if self.collective == "barrier" else self.count

    def result(self, rank: int) -> tuple[Size, ...]:
        """Shape of what a rank gets."""
        if self.collective in ("all_reduce", "broadcast"):
            return self._shape
        if self.collective == "all_gather" and len(set(self.widths)) == 1:
            return (self._world_size, *self._shape)
        width = self.result_width(rank)
        return (width,) if self._flat else (*self._shape[:-1], width)

    def check_result(self, rank: int, shape: tuple[Size, ...], kind: Kind) -> None:
        """Refuses a result of another type or of another number of elements.

        Raises:
            BadCall: names what it should be.
        """
        dtype, given = kind
        if dtype != self.dtype or _elements(given) != _elements(shape):
            raise BadCall(
                f"{self.collective} gives rank {rank} {self.dtype} {shape}, and its result in out= is {dtype} {given}; "
                f"give one of that type and size"
            )

    def _width(self, shape: tuple[Size, ...]) -> int:
        if self._flat:
            extents = [extent for extent in shape if not isinstance(extent, Affine)]
            if len(extents) == len(shape):
                return prod(extents)
        width = shape[-1]
        if isinstance(width, Affine):
            raise BadCall(
                f"{self.collective} over the shape {shape}, whose last axis is open; reshape it so that a closed axis "
                f"is the last"
            )
        return width


def _elements(shape: tuple[Size, ...]) -> Size:
    return column_of((*shape, 1))
