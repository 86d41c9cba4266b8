"""Kernels that stream their operands: what they read and write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Final

from controller.capture.trace import CallSignature, TensorOperand
from node.hardware.operation import ITEM_BYTES, Demand

SPREAD_SHARE: Final = 0.62 / 1.39
"""Measured: rate of a sum with a bias over that of two tensors of one shape, PyTorch 2.9 on an H200."""
INTERLEAVED_SHARE: Final = 0.34 / 1.39
"""Measured: the same with an operand that is repeated in the middle (github.com/tile-ai/TileOPs, pull request 537)."""
MEASURED_ITEM_BYTES: Final = 2.0
LEAST_ELEMENTS: Final = 1 << 16
"""Results below which a kernel is as long as its start anyway."""
_OTHER_BYTES = {"complex64": 8, "complex128": 16, "uint32": 4, "uint16": 2, "uint64": 8, "bits8": 1}


def item_bytes(dtype: str) -> int:
    """Size of an element [bytes]."""
    return ITEM_BYTES.get(dtype) or _OTHER_BYTES.get(dtype, 4)


def nbytes(operand: TensorOperand) -> int:
    """What of a tensor lies in memory [bytes]."""
    return operand.elements * item_bytes(operand.dtype)


def total_bytes(operands: Iterable[TensorOperand]) -> int:
    """Of all of them [bytes]."""
    return sum(map(nbytes, operands))


def streaming(reads: int, writes: int, flop: float = 0.0, elements: int = 0) -> Demand:
    """A kernel of the vector unit that reads and writes so many bytes."""
    return Demand("elementwise", flop, (int(reads),), (max(int(writes), 4),), "fp32", "vector", {"elements": elements})


def whole(call: CallSignature, flop_per_element: float = 1.0) -> list[Demand]:
    """One kernel that reads every input and writes every output once."""
    elements = sum(output.elements for output in call.outputs)
    return [streaming(total_bytes(call.inputs), total_bytes(call.outputs), flop_per_element * elements, elements)]


def pointwise(call: CallSignature) -> list[Demand]:
    """One kernel of PyTorch's TensorIterator: slower where an operand is spread over axes of the result.

    Contiguous operands of one shape are read in vectors. An operand that is repeated along leading axes (a weight over
    rows), or along the last (a scale of each row), costs an index calculation for every element, whatever its size, and
    one that is repeated in the middle (positions over heads) costs more.
    """
    (demand,) = whole(call)
    share = min((_spread_share(each, call.outputs[0]) for each in call.inputs), default=1.0) if call.outputs else 1.0
    return [replace(demand, dims={**demand.dims, "slower": 1.0 / share})]


def _spread_share(operand: TensorOperand, out: TensorOperand) -> float:
    shape = (1,) * (len(out.shape) - len(operand.shape)) + operand.shape
    numel = prod(operand.shape)
    if not operand.shape or out.elements < LEAST_ELEMENTS or (shape == out.shape and operand.elements == numel):
        return 1.0
    repeated = [extent != other for extent, other in zip(shape, out.shape, strict=True) if other > 1]
    changes = sum(first != second for first, second in pairwise(repeated))
    share = INTERLEAVED_SHARE if changes > 1 and operand.elements == numel else SPREAD_SHARE
    return min(1.0, share * item_bytes(out.dtype) / MEASURED_ITEM_BYTES)


def written(call: CallSignature) -> list[Demand]:
    """One kernel that writes its outputs and reads nothing."""
    outputs = call.outputs or call.inputs[:1]
    return [streaming(0, total_bytes(outputs), 0.0, sum(output.elements for output in outputs))]
