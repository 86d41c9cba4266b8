"""Products with packed weights, alone or by expert, and the rounding of their other operand to 8 bits.

With activations as they are, weights are converted in registers on their way to a product in the type of the
activations. With activations in 8 bits the product runs in 8 bits, and scales are applied to its results.
"""

from __future__ import annotations

from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    FLOATS,
    expect_choice,
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_rank,
    expect_shape,
    refuse_shape,
)
from node.hardware.operations.experts import expect_capacity, expect_loads, grouped_dims, kept_loads
from node.hardware.operations.row_quantisation import row_quantisation_demand
from node.hardware.packed import PACKED, ROWS, parse_format, rounded_bytes, rounded_columns

SCALES = ("token", "block", "tensor")
"""What shares a scale of activations: a row, 128 of a row, or all, with a scale that the checkpoint brings."""
_STATIC_FLOP = 3  # divide, clamp, round


def packed_columns(x: TensorType, attributes: CompleteAttributes) -> int:
    """Inner length of a product whose other operand is `x`."""
    width = x.shape[-1]
    return rounded_columns(width, attributes.text("scales") == "block") if x.dtype == PACKED else width


def _check_round(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "round_rows"
    expect_counts(name, "x -> rounded", inputs, outputs, (1,), (1,))
    x = inputs[0]
    expect_float(name, "x", x)
    if not x.shape or not x.shape[-1]:
        refuse_shape(name, "x", x, "(..., k) with k at least 1")
    expect_choice(name, "scales", attributes.text("scales"), SCALES)
    expect_choice(name, "kind", attributes.text("kind"), ("int", "fp8"))
    nbytes = rounded_bytes(x.shape[-1], attributes.text("scales") == "block")
    expect_like(name, "rounded", outputs[0], TensorType((*x.shape[:-1], nbytes), PACKED), "x in 8 bits")


def _round_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    x = inputs[0]
    columns = x.shape[-1]
    if attributes.text("scales") == "token":
        row = row_quantisation_demand(x.size // columns, columns, x.dtype)
        return Demand(
            row.family, row.flop, row.reads, (outputs[0].nbytes,), row.dtype, row.unit, row.dims
        )  # fmt: skip
    # A scale that is there, or one of 128 elements that a warp holds: a single pass.
    return elementwise_demand(inputs, outputs, _STATIC_FLOP * x.size)


def _check_operand(name: str, x: TensorType, w: TensorType, attributes: CompleteAttributes) -> None:
    if x.dtype != PACKED:
        expect_float(name, "x", x)
    if not x.shape:
        refuse_shape(name, "x", x, "(..., k)")
    expect_choice(name, "result", attributes.text("result"), sorted(FLOATS))
    expect_dtype(name, "w", w, PACKED)
    columns, packed = packed_columns(x, attributes), parse_format(attributes.text("format"))
    nbytes = packed.row_bytes(columns)
    if w.shape[-1] != nbytes:
        refuse_shape(name, "w", w, f"rows of {nbytes} bytes", f"x has {columns} columns and w is {packed.text!r}")


def _check_linear(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "packed_linear"
    expect_counts(name, "x, w[, bias] -> out", inputs, outputs, (2, 3), (1,))
    x, w = inputs[:2]
    expect_rank(name, "w", w, "(n, bytes)", 2)
    _check_operand(name, x, w, attributes)
    rows, made = w.shape[0], attributes.text("result")
    if len(inputs) == 3:
        expect_like(name, "bias", inputs[2], TensorType((rows,), made), "a number for each row of w")
    expect_like(name, "out", outputs[0], TensorType((*x.shape[:-1], rows), made), "x times w")


def _linear_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    x, w = inputs[:2]
    n, k = w.shape[0], packed_columns(x, attributes)
    m = x.size // x.shape[-1]
    flop = 2.0 * m * n * k + (m * n if len(inputs) == 3 else 0)
    reads = tuple([tensor.nbytes for tensor in inputs])
    packed = parse_format(attributes.text("format"))
    dims: dict[str, float] = {"m": m, "n": n, "k": k}
    dtype = x.dtype
    if dtype == PACKED:
        dtype = "fp8" if packed.kind == "fp8" else "int8"
    else:
        dims["conversion"] = packed.instructions * n * k * -(-m // ROWS)
    return Demand("gemm", flop, reads, (outputs[0].nbytes,), dtype, "tensor", dims)


def _check_grouped(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "packed_grouped_linear"
    expect_counts(name, "rows, w, ends[, bias] -> out", inputs, outputs, (3, 4), (1,))
    rows, w, ends = inputs[:3]
    expect_rank(name, "rows", rows, "(r, k)", 2)
    expect_rank(name, "w", w, "(e, n, bytes)", 3)
    _check_operand(name, rows, w, attributes)
    experts, columns, _ = w.shape
    made = attributes.text("result")
    expect_like(name, "ends", ends, TensorType((experts,), "int64"), "the row after the last of every expert")
    if len(inputs) == 4:
        expect_like(name, "bias", inputs[3], TensorType((experts, columns), made), "a number for each row of w")
    expect_loads(name, attributes.integers("loads"), experts)
    expect_capacity(name, attributes)
    expect_shape(name, "out", outputs[0], (rows.shape[0], columns), f"w is {w.shape}")
    expect_dtype(name, "out", outputs[0], made)


def _grouped_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    rows, w = inputs[:2]
    (experts, n, stored), k = w.shape, packed_columns(rows, attributes)
    counts = kept_loads(rows.shape[0], experts, attributes)
    kept = sum(counts) if attributes.integer("capacity") else rows.shape[0]
    dims = grouped_dims(counts, n, k)
    active = int(dims["groups"])
    packed = parse_format(attributes.text("format"))
    reads = [kept * rows.shape[1] * ITEM_BYTES[rows.dtype], min(active, experts) * n * stored, inputs[2].nbytes]
    if len(inputs) == 4:
        reads.append(min(active, experts) * n * ITEM_BYTES[inputs[3].dtype])
    dtype = rows.dtype
    if dtype == PACKED:
        dtype = "fp8" if packed.kind == "fp8" else "int8"
    else:
        dims["conversion"] = packed.instructions * n * k * sum(-(-count // ROWS) for count in counts)
    flop = 2.0 * kept * n * k
    return Demand("grouped_gemm", flop, tuple(reads), (outputs[0].nbytes,), dtype, "tensor", dims)


_PRODUCT = {"format": (str, None), "result": (str, None), "scales": (str, "token")}
PACKED_PRODUCTS = (
    define(
        "round_rows",
        "x (..., k) -> bytes (..., k + scales): x in 8 bits of `kind` with fp32 scales behind each row; `scales` are "
        "one a row (token), one for 128 elements (block), or one that was there before (tensor)",
        _check_round,
        _round_demand,
        {"scales": (str, "token"), "kind": (str, "fp8")},
    ),
    define(
        "packed_linear",
        "x (..., k) or rounded bytes, w packed (n, bytes)[, bias (n)] -> (..., n): x times the transpose of w, plus "
        "bias; `format` says how w is packed, `scales` how x was rounded, `result` the type of the result",
        _check_linear,
        _linear_demand,
        _PRODUCT,
    ),
    define(
        "packed_grouped_linear",
        "rows (r, k) or rounded bytes, w packed (e, n, bytes), ends int64 (e)[, bias (e, n)] -> (r, n): as "
        "grouped_linear with packed weights",
        _check_grouped,
        _grouped_demand,
        {**_PRODUCT, "loads": (tuple, ()), "capacity": (int, 0)},
    ),
)
