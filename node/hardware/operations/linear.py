"""Matrix products: family ``gemm`` with ``m`` rows, ``n`` columns and inner length ``k``."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_rank,
    expect_shape,
    refuse_shape,
)


def _check_linear(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("linear", "x, w[, bias] -> out", inputs, outputs, (2, 3), (1,))
    x, w, out = inputs[0], inputs[1], outputs[0]
    expect_float("linear", "x", x)
    if not x.shape:
        refuse_shape("linear", "x", x, "(..., k)")
    k = x.shape[-1]
    if len(w.shape) != 2 or w.shape[1] != k:
        refuse_shape("linear", "w", w, f"(n, {k})", f"x has {k} columns")
    expect_dtype("linear", "w", w, x.dtype, "x is")
    n = w.shape[0]
    if len(inputs) == 3:
        expect_shape("linear", "bias", inputs[2], (n,), f"w has {n} rows")
        expect_dtype("linear", "bias", inputs[2], x.dtype, "x is")
    expect_shape("linear", "out", out, (*x.shape[:-1], n), f"w has {n} rows")
    expect_dtype("linear", "out", out, x.dtype, "x is")


def _linear_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    n, k = inputs[1].shape[0], inputs[0].shape[-1]
    m = inputs[0].size // k if k else 0
    flop = 2.0 * m * n * k + (m * n if len(inputs) == 3 else 0)
    return _gemm(inputs, outputs, flop, m, n, k)


def _check_matmul(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("matmul", "a, b -> out", inputs, outputs, (2,), (1,))
    (a, b), out = inputs, outputs[0]
    expect_float("matmul", "a", a)
    expect_rank("matmul", "a", a, "(m, k)", 2)
    m, k = a.shape
    if len(b.shape) != 2 or b.shape[0] != k:
        refuse_shape("matmul", "b", b, f"({k}, n)", f"a has {k} columns")
    expect_dtype("matmul", "b", b, a.dtype, "a is")
    expect_shape("matmul", "out", out, (m, b.shape[1]), "a has these rows and b these columns")
    expect_dtype("matmul", "out", out, a.dtype, "a is")


def _matmul_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    m, k = inputs[0].shape
    n = inputs[1].shape[1]
    return _gemm(inputs, outputs, 2.0 * m * n * k, m, n, k)


def _gemm(inputs: Types, outputs: Types, flop: float, m: int, n: int, k: int) -> Demand:
    # Each operand counted once: what a kernel re-reads stays on chip, and the model of the family says how well.
    reads = tuple([tensor.nbytes for tensor in inputs])
    return Demand("gemm", flop, reads, (outputs[0].nbytes,), inputs[0].dtype, "tensor", {"m": m, "n": n, "k": k})


LINEAR = (
    define(
        "linear",
        "x (..., k), w (n, k)[, bias (n)] -> (..., n): x times the transpose of w, plus bias",
        _check_linear,
        _linear_demand,
    ),
    define("matmul", "a (m, k), b (k, n) -> (m, n): matrix product", _check_matmul, _matmul_demand),
)
