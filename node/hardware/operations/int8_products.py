"""Matrix products of rows and weights in int8, each row and each column with its scale: families ``gemm`` and
``grouped_gemm`` in int8.

Sums are exact in 32 bits; scales are applied to them in fp32.
Source: Xiao et al., SmoothQuant, ICML 2023 (int8 activations and weights); CloudMatrix384, arXiv 2506.12708, section
4.5 (a scale a token and a scale a channel).
"""

from __future__ import annotations

from node.hardware.operation import Demand, TensorType
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_rank,
    expect_shape,
)
from node.hardware.operations.experts import expert_loads


def _check_linear(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "int8_linear"
    expect_counts(name, "x, x_scale, w, w_scale -> out", inputs, outputs, (4,), (1,))
    x, x_scale, w, w_scale = inputs
    expect_rank(name, "x", x, "(t, k)", 2)
    expect_rank(name, "w", w, "(n, k)", 2)
    expect_shape(name, "w", w, (w.shape[0], x.shape[1]), f"x has {x.shape[1]} columns")
    _check_types(name, x, x_scale, w, w_scale, outputs[0])
    expect_like(name, "w_scale", w_scale, TensorType((w.shape[0],), "fp32"), "one number a row of w")
    expect_shape(name, "out", outputs[0], (x.shape[0], w.shape[0]), f"w is {w.shape}")


def _check_grouped(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "int8_grouped_linear"
    expect_counts(name, "rows, row_scale, w, w_scale, ends -> out", inputs, outputs, (5,), (1,))
    rows, row_scale, w, w_scale, ends = inputs
    expect_rank(name, "rows", rows, "(r, k)", 2)
    expect_rank(name, "w", w, "(e, n, k)", 3)
    experts, columns, _ = w.shape
    expect_shape(name, "w", w, (experts, columns, rows.shape[1]), f"rows has {rows.shape[1]} columns")
    _check_types(name, rows, row_scale, w, w_scale, outputs[0])
    expect_like(name, "w_scale", w_scale, TensorType((experts, columns), "fp32"), "one number a row of w")
    expect_like(name, "ends", ends, TensorType((experts,), "int64"), "the row after the last of every expert")
    expect_shape(name, "out", outputs[0], (rows.shape[0], columns), f"w is {w.shape}")


def _check_types(
    name: str, x: TensorType, x_scale: TensorType, w: TensorType, w_scale: TensorType, out: TensorType
) -> None:
    expect_dtype(name, "x", x, "int8")
    expect_dtype(name, "w", w, "int8")
    expect_dtype(name, "w_scale", w_scale, "fp32")
    expect_like(name, "x_scale", x_scale, TensorType((x.shape[0],), "fp32"), "one number a row of x")
    expect_float(name, "out", out)


def _linear_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    (m, k), n = inputs[0].shape, inputs[2].shape[0]
    reads = tuple([tensor.nbytes for tensor in inputs])
    dims = {"m": m, "n": n, "k": k}
    return Demand("gemm", 2.0 * m * n * k, reads, (outputs[0].nbytes,), "int8", "tensor", dims)


def _grouped_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    """Rows spread evenly; experts without one are not read."""
    (rows, length), (experts, columns, _length) = inputs[0].shape, inputs[2].shape
    counts = expert_loads(rows, experts) if experts else ()
    active = max(1, sum(count > 0 for count in counts))
    read = min(active, experts)
    reads = (
        inputs[0].nbytes, inputs[1].nbytes, read * columns * length, 4 * read * columns, inputs[4].nbytes
    )  # fmt: skip
    dims = {
        "m": -(-rows // active), "n": columns, "k": length, "groups": active,
        "rows": rows, "experts": experts, "active": active, "most": max(counts, default=0),
    }  # fmt: skip
    flop = 2.0 * rows * columns * length
    return Demand("grouped_gemm", flop, reads, (outputs[0].nbytes,), "int8", "tensor", dims)


INT8_PRODUCTS = (
    define(
        "int8_linear",
        "x int8 (t, k), x_scale fp32 (t), w int8 (n, k), w_scale fp32 (n) -> (t, n): x times the transpose of w, times "
        "both scales",
        _check_linear,
        _linear_demand,
    ),
    define(
        "int8_grouped_linear",
        "rows int8 (r, k), row_scale fp32 (r), w int8 (e, n, k), w_scale fp32 (e, n), ends int64 (e) -> (r, n): the "
        "rows of each expert times the transpose of its weight, times both scales",
        _check_grouped,
        _grouped_demand,
    ),
)
