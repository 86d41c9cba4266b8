"""Matrix products."""

from __future__ import annotations

from math import prod

from controller.capture.lowering.bytes_of import nbytes, streaming, total_bytes
from controller.capture.trace import CallSignature, TensorOperand
from node.hardware.operation import Demand


def _product(a: TensorOperand, b: TensorOperand, out: TensorOperand, groups: int, more: int = 0) -> Demand:
    m, k = a.shape[-2:]
    n = b.shape[-1]
    dims = {"m": m, "n": n, "k": k} | ({"groups": groups} if groups > 1 else {})
    reads = (nbytes(a), nbytes(b), *((more,) if more else ()))
    return Demand("gemm", 2.0 * groups * m * n * k, reads, (nbytes(out),), a.dtype, "tensor", dims)


def mm(call: CallSignature) -> list[Demand]:
    """``mm(a, b)``."""
    return [_product(call.inputs[0], call.inputs[1], call.outputs[0], 1)]


def bmm(call: CallSignature) -> list[Demand]:
    """``bmm(a, b)``: products of one size that one kernel deals out together."""
    a, b = call.inputs[:2]
    return [_product(a, b, call.outputs[0], prod(a.shape[:-2]))]


def addmm(call: CallSignature) -> list[Demand]:
    """``addmm(bias, a, b)``: the library adds the bias as it stores."""
    bias, a, b = call.inputs[:3]
    return [_product(a, b, call.outputs[0], 1, nbytes(bias))]


def baddbmm(call: CallSignature) -> list[Demand]:
    """``baddbmm(bias, a, b)``."""
    bias, a, b = call.inputs[:3]
    return [_product(a, b, call.outputs[0], prod(a.shape[:-2]), nbytes(bias))]


def scaled_mm(call: CallSignature) -> list[Demand]:
    """``_scaled_mm``: operands of 8 bits."""
    return [_product(call.inputs[0], call.inputs[1], call.outputs[0], 1)]


def grouped_mm(call: CallSignature) -> list[Demand]:
    """``_grouped_mm(a, b, offsets)``: rows of `a` by expert; balanced where nothing else is declared."""
    a, b = call.inputs[:2]
    if len(a.shape) == 2 and len(b.shape) == 3:
        groups, k, n = b.shape
        m = -(-a.shape[0] // groups)
    else:
        groups = max(call.outputs[0].shape[0], 1) if len(call.outputs[0].shape) == 3 else 1
        m, k, n = a.shape[-2], -(-a.shape[-1] // groups), b.shape[-1]
    dims = {"m": m, "n": n, "k": k, "groups": groups}
    flop = 2.0 * groups * m * n * k
    return [Demand("gemm", flop, (nbytes(a), nbytes(b)), (total_bytes(call.outputs),), a.dtype, "tensor", dims)]


def convolution(call: CallSignature) -> list[Demand]:
    """``convolution(x, w)`` as the product that it is on matrix units."""
    x, w, out = call.inputs[0], call.inputs[1], call.outputs[0]
    rows = out.elements // out.shape[1]
    k = prod(w.shape[1:])
    dims = {"m": rows, "n": out.shape[1], "k": k}
    return [Demand("gemm", 2.0 * out.elements * k, (nbytes(x), nbytes(w)), (nbytes(out),), x.dtype, "tensor", dims)]


def dot(call: CallSignature) -> list[Demand]:
    """``dot(a, b)``: a reduction."""
    return [streaming(total_bytes(call.inputs[:2]), 4, 2.0 * call.inputs[0].elements, 1)]
