"""The types of the operation table: what a kernel takes, gives and demands.

`operations/` holds one family a file and `operations/__init__.py` the table. The same entry checks a launch on a node,
checks a plan in the controller and tells the cost models how much work a launch is, so the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

ITEM_BYTES: Mapping[str, int] = {
    "fp64": 8, "fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
}  # fmt: skip

AttributeValue = int | float | str | bool | tuple[int, ...]
Attributes = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and element type of an operand."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Demand:
    """How much work one launch is, before any device is named.

    Attributes:
        family: which cost model times it, as `cost.FAMILIES` has them (``gemm``, ``prefill_attention``,
            ``elementwise``, ...), or ``delay``.
        flop: floating-point operations [FLOP].
        reads: bytes read of each input, in order [bytes].
        writes: bytes written to each output, in order [bytes].
        dtype: element type that the arithmetic runs in; picks the peak.
        unit: preferred compute unit, ``tensor`` or ``vector``; a device without it uses what it has.
        dims: named sizes for the model of the family (``m``, ``n``, ``k``; ``batch``, ``heads``, ...).
    """

    family: str
    flop: float
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    dtype: str
    unit: str = "vector"
    dims: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the operation table.

    Attributes:
        name: what `Kernel.op` says.
        summary: one line for people, shapes in parentheses.
        attributes: name to type of each attribute; a default of None means required.
        check: raises ShapeMismatch, DtypeMismatch or BadAttribute when inputs, outputs and attributes do not fit.
        demand: the work of a launch that passed `check`.
        in_place: indices of outputs that are partly written, so that their old content matters to a later reader.
    """

    name: str
    summary: str
    attributes: Mapping[str, tuple[type, AttributeValue | None]]
    check: Callable[[Sequence[TensorType], Sequence[TensorType], Attributes], None]
    demand: Callable[[Sequence[TensorType], Sequence[TensorType], Attributes], Demand]
    in_place: tuple[int, ...] = ()
