"""Choosing by index and by size: embedding, gather, top-k, argmax. Reads count the rows that are touched."""

from __future__ import annotations

from dataclasses import replace

from node.hardware.operation import ITEM_BYTES, Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_number,
    expect_range,
    expect_rank,
    expect_shape,
    refuse_shape,
)


def _check_embedding(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("embedding", "table, ids -> out", inputs, outputs, (2,), (1,))
    table, ids = inputs
    expect_float("embedding", "table", table)
    expect_rank("embedding", "table", table, "(v, n)", 2)
    expect_dtype("embedding", "ids", ids, "int64")
    expect_shape("embedding", "out", outputs[0], (*ids.shape, table.shape[1]), f"ids is {ids.shape}")
    expect_dtype("embedding", "out", outputs[0], table.dtype, "table is")


def _embedding_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    out = outputs[0]
    flop = 0 if attributes["scale"] == 1.0 else out.size
    return elementwise_demand(inputs, outputs, flop, (out.nbytes, inputs[1].nbytes))


def _check_gather(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("gather", "x, ids -> out", inputs, outputs, (2,), (1,))
    x, ids = inputs
    expect_rank("gather", "x", x, "(n, m)", 2)
    expect_rank("gather", "ids", ids, "(k)", 1)
    expect_dtype("gather", "ids", ids, "int64")
    expect_shape("gather", "out", outputs[0], (ids.shape[0], x.shape[1]), f"ids is {ids.shape} and x {x.shape}")
    expect_dtype("gather", "out", outputs[0], x.dtype, "x is")


def _gather_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 0, (outputs[0].nbytes, inputs[1].nbytes))


def _check_top_k(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("top_k", "x -> values, indices", inputs, outputs, (1,), (2,))
    x, k = inputs[0], attributes.integer("k")
    expect_float("top_k", "x", x)
    if not x.shape:
        refuse_shape("top_k", "x", x, "(..., v)")
    expect_range("top_k", "k", k, 1, x.shape[-1], "elements, the columns of x")
    shape = (*x.shape[:-1], k)
    expect_shape("top_k", "values", outputs[0], shape, f"x is {x.shape} and k {k}")
    expect_dtype("top_k", "values", outputs[0], x.dtype, "x is")
    expect_shape("top_k", "indices", outputs[1], shape, f"x is {x.shape} and k {k}")
    expect_dtype("top_k", "indices", outputs[1], "int64")


def _check_argmax(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("argmax", "x -> ids", inputs, outputs, (1,), (1,))
    x = inputs[0]
    expect_number("argmax", "x", x)
    if not x.shape or x.shape[-1] == 0:
        refuse_shape("argmax", "x", x, "(..., v) with v at least 1")
    expect_shape("argmax", "ids", outputs[0], x.shape[:-1], f"x is {x.shape}")
    expect_dtype("argmax", "ids", outputs[0], "int64")


def _scan_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    # One comparison an element. The work is in reading x, so the size that counts is that of the input.
    x = inputs[0]
    writes = tuple([out.size * ITEM_BYTES[out.dtype] for out in outputs])
    return Demand("elementwise", float(x.size), (x.nbytes,), writes, "fp32", "vector", {"elements": x.size})


def _top_k_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return replace(_scan_demand(inputs, outputs, attributes), family="selection")


SELECTION = (
    define(
        "embedding",
        "table (v, n), ids int64 (...) -> (..., n): rows of the table, times `scale` in the table's type",
        _check_embedding,
        _embedding_demand,
        {"scale": (float, 1.0)},
    ),
    define("gather", "x (n, m), ids int64 (k) -> (k, m): rows of x", _check_gather, _gather_demand),
    define(
        "top_k",
        "x (..., v) -> values (..., k), indices int64 (..., k): the largest first; equal ones by index",
        _check_top_k,
        _top_k_demand,
        {"k": (int, None)},
    ),
    define(
        "argmax",
        "x (..., v) -> int64 (...): index of the largest, of equal ones the first",
        _check_argmax,
        _scan_demand,
    ),
)
