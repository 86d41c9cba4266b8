"""Types of what an operation makes, from the operation table, also where extents are open.

An open extent counts as its bound where the table checks sizes; results carry the open extent on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.plan.ops import OpAttribute
from controller.plan.size import Affine, Size
from node.errors import NodeError, ShapeMismatch
from node.hardware.operation import AttributeValue, TensorType
from node.hardware.operations import operation
from node.hardware.operations.results import RESULTS, result_types

Kind = tuple[str, tuple[Size, ...]]
"""Element type and extents."""
Kinds = tuple[Kind, ...]
_OPEN = 1 << 20
"""Stands for an open extent without a bound where only shapes are derived; larger than any extent beside it."""


class Signatures:
    """Results of launches, each form derived and checked once.

    Attributes:
        bounds: largest number of each open size.
    """

    def __init__(self, bounds: Mapping[str, int]) -> None:
        self.bounds = dict(bounds)
        self._known: dict[object, Kinds] = {}

    def bound(self, extent: Size) -> int:
        """The largest number that an extent may be.

        Raises:
            ShapeMismatch: it is open without a bound.
        """
        if not isinstance(extent, Affine):
            return extent
        if extent.symbol not in self.bounds:
            raise ShapeMismatch(
                f"the open size {extent.symbol!r} has no bound; give the script one: bounds={{{extent.symbol!r}: n}}"
            )
        return extent.scale * self.bounds[extent.symbol] + extent.offset

    def results(self, op: str, inputs: Kinds, outputs: Kinds | None, attributes: Mapping[str, OpAttribute]) -> Kinds:
        """Kinds of what `op` makes of `inputs`; those of `outputs`, checked, where the caller decides them.

        Raises:
            NodeError: the operation table refuses the operands, or cannot derive a result.
        """
        key = (op, inputs, outputs, tuple(attributes.items()))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._derive(op, inputs, outputs, attributes)
        return found

    def _derive(self, op: str, inputs: Kinds, outputs: Kinds | None, attributes: Mapping[str, OpAttribute]) -> Kinds:
        entry = operation(op)
        closed, all_closed = self._closed(attributes)
        if outputs is None:
            if op not in RESULTS:
                raise ShapeMismatch(f"{op} makes nothing of a size of its own; give a buffer as out=, or makes=")
            outputs = self._open_results(op, inputs, closed)
        types = self._bounded(inputs)
        made = self._bounded(outputs)
        if all_closed and types is not None and made is not None:
            entry.check(types, made, closed)
        return outputs

    def _open_results(self, op: str, inputs: Kinds, attributes: Mapping[str, AttributeValue]) -> Kinds:
        """Derives results over numbers that stand for open extents, and puts the extents back."""
        stand_ins: dict[int, Affine] = {}
        numbers: dict[Affine, int] = {}

        def closed(extent: Size) -> int:
            if not isinstance(extent, Affine):
                return extent
            if extent not in numbers:
                numbers[extent] = _OPEN + len(numbers)
                stand_ins[numbers[extent]] = extent
            return numbers[extent]

        types = [TensorType(tuple(map(closed, shape)), dtype) for dtype, shape in inputs]
        return tuple(
            (each.dtype, tuple(stand_ins.get(extent, extent) for extent in each.shape))
            for each in result_types(op, types, attributes)
        )

    def _bounded(self, kinds: Kinds) -> tuple[TensorType, ...] | None:
        """Types with open extents at their bounds; None where one has none."""
        try:
            return tuple(TensorType(tuple(map(self.bound, shape)), dtype) for dtype, shape in kinds)
        except NodeError:
            return None

    def _closed(self, attributes: Mapping[str, OpAttribute]) -> tuple[dict[str, AttributeValue], bool]:
        """Attributes without open sizes, and whether none is missing."""
        closed: dict[str, AttributeValue] = {}
        for name, value in attributes.items():
            if isinstance(value, Affine):
                continue
            if isinstance(value, tuple):
                numbers: Sequence[int] = [item for item in value if not isinstance(item, Affine)]
                if len(numbers) == len(value):
                    closed[name] = tuple(numbers)
            else:
                closed[name] = value
        return closed, len(closed) == len(attributes)
