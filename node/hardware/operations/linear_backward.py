"""Gradients of `linear`, to its input and to its weight and bias: family ``gemm``, as forward."""

from __future__ import annotations

from node.hardware.operation import Demand, TensorType
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_shape,
    refuse_shape,
)


def expect_gradient_dtype(operation: str, operand: str, tensor: TensorType, dtype: str, model: str) -> None:
    """Gradients of weights have the type of the activations, or fp32.

    Raises:
        DtypeMismatch: another element type.
    """
    if tensor.dtype != "fp32":
        expect_dtype(operation, operand, tensor, dtype, f"{model} is (fp32 is allowed too)")


def _check_input(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "linear_input_backward"
    expect_counts(name, "dy, w[, sum] -> dx", inputs, outputs, (2, 3), (1,))
    dy, w, dx = inputs[0], inputs[1], outputs[0]
    expect_float(name, "dy", dy)
    if not dy.shape:
        refuse_shape(name, "dy", dy, "(..., n)")
    n = dy.shape[-1]
    if len(w.shape) != 2 or w.shape[0] != n:
        refuse_shape(name, "w", w, f"({n}, k)", f"dy has {n} columns")
    expect_dtype(name, "w", w, dy.dtype, "dy is")
    expect_shape(name, "dx", dx, (*dy.shape[:-1], w.shape[1]), f"w has {w.shape[1]} columns")
    expect_dtype(name, "dx", dx, dy.dtype, "dy is")
    if len(inputs) == 3:
        expect_like(name, "sum", inputs[2], dx, "dx")


def _input_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    n, k = inputs[1].shape
    m = inputs[0].size // n if n else 0
    flop = 2.0 * m * n * k + (m * k if len(inputs) == 3 else 0)
    reads, writes = tuple([tensor.nbytes for tensor in inputs]), (outputs[0].nbytes,)
    return Demand("gemm", flop, reads, writes, inputs[0].dtype, "tensor", {"m": m, "n": k, "k": n})


def _check_weight(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "linear_weight_backward"
    signature = "x, dy[, dw sum][, db sum] -> dw[, db]"
    expect_counts(name, signature, inputs, outputs, (2, 2 + len(outputs)), (1, 2))
    x, dy, dw = inputs[0], inputs[1], outputs[0]
    expect_float(name, "x", x)
    if not x.shape:
        refuse_shape(name, "x", x, "(..., k)")
    if not dy.shape or dy.shape[:-1] != x.shape[:-1]:
        refuse_shape(name, "dy", dy, f"({', '.join(map(str, (*x.shape[:-1], 'n')))})", f"x is {x.shape}")
    expect_dtype(name, "dy", dy, x.dtype, "x is")
    n, k = dy.shape[-1], x.shape[-1]
    expect_shape(name, "dw", dw, (n, k), f"dy has {n} columns and x {k}")
    expect_gradient_dtype(name, "dw", dw, x.dtype, "x")
    if len(outputs) == 2:
        expect_shape(name, "db", outputs[1], (n,), f"dy has {n} columns")
        expect_dtype(name, "db", outputs[1], dw.dtype, "dw is")
    for operand, added, out in zip(("dw sum", "db sum"), inputs[2:], outputs, strict=False):
        expect_like(name, operand, added, out, operand[:2])


def _weight_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    n, k = outputs[0].shape
    m = inputs[0].size // k if k else 0
    flop = 2.0 * m * n * k + (m * n if len(outputs) == 2 else 0)
    flop += sum(tensor.size for tensor in inputs[2:])
    reads, writes = tuple([tensor.nbytes for tensor in inputs]), tuple([tensor.nbytes for tensor in outputs])
    return Demand("gemm", flop, reads, writes, inputs[0].dtype, "tensor", {"m": n, "n": k, "k": m})


LINEAR_BACKWARD = (
    define(
        "linear_input_backward",
        "dy (..., n), w (n, k)[, sum (..., k)] -> dx (..., k): gradient of `linear` to x, added to `sum`",
        _check_input,
        _input_demand,
    ),
    define(
        "linear_weight_backward",
        "x (..., k), dy (..., n)[, dw (n, k)[, db (n)]] -> dw (n, k)[, db (n)]: gradients of `linear` to w and bias "
        "in the type of x or fp32, added to those given",
        _check_weight,
        _weight_demand,
    ),
)
