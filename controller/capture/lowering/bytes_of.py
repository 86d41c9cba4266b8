"""Kernels that stream their operands: what they read and write."""

from __future__ import annotations

from collections.abc import Iterable

from controller.capture.trace import CallSignature, TensorOperand
from node.hardware.operation import ITEM_BYTES, Demand

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


def written(call: CallSignature) -> list[Demand]:
    """One kernel that writes its outputs and reads nothing."""
    outputs = call.outputs or call.inputs[:1]
    return [streaming(0, total_bytes(outputs), 0.0, sum(output.elements for output in outputs))]
