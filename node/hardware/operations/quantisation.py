"""Symmetric int8 with one scale a row."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import expect_counts, expect_dtype, expect_float, expect_shape, refuse_shape

_QUANTISE_FLOP, _QUANTISE_ROW_FLOP = 4, 1  # per element: magnitude, maximum, divide, round; per row: divide by 127


def _check_quantise(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("quantise", "x -> q, scale", inputs, outputs, (1,), (2,))
    x = inputs[0]
    expect_float("quantise", "x", x)
    if not x.shape or x.shape[-1] == 0:
        refuse_shape("quantise", "x", x, "(..., n) with n at least 1")
    expect_shape("quantise", "q", outputs[0], x.shape, "x has that shape")
    expect_dtype("quantise", "q", outputs[0], "int8")
    expect_shape("quantise", "scale", outputs[1], x.shape[:-1], f"x is {x.shape}, one scale a row")
    expect_dtype("quantise", "scale", outputs[1], "fp32")


def _quantise_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    flop = _QUANTISE_FLOP * inputs[0].size + _QUANTISE_ROW_FLOP * outputs[1].size
    return elementwise_demand(inputs, outputs, flop)


def _check_dequantise(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("dequantise", "q, scale -> x", inputs, outputs, (2,), (1,))
    q, scale = inputs
    expect_dtype("dequantise", "q", q, "int8")
    if not q.shape:
        refuse_shape("dequantise", "q", q, "(..., n)")
    expect_shape("dequantise", "scale", scale, q.shape[:-1], f"q is {q.shape}, one scale a row")
    expect_dtype("dequantise", "scale", scale, "fp32")
    expect_shape("dequantise", "x", outputs[0], q.shape, "q has that shape")
    expect_float("dequantise", "x", outputs[0])


def _dequantise_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, inputs[0].size)


QUANTISATION = (
    define(
        "quantise",
        "x (..., n) -> q int8 (..., n), scale fp32 (...): q = round(x / scale), scale = max|x| / 127 of each row",
        _check_quantise,
        _quantise_demand,
    ),
    define(
        "dequantise",
        "q int8 (..., n), scale fp32 (...) -> (..., n): q times the scale of its row",
        _check_dequantise,
        _dequantise_demand,
    ),
)
