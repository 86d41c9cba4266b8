"""Normalisations over the last axis: layer norm, root-mean-square norm, softmax. Arithmetic in fp32, rounded once."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_range,
    expect_shape,
    refuse_shape,
)

# Per element: sum, minus mean, square, sum, times 1/deviation, times w, plus bias. Per row: two divisions, eps, rsqrt.
_LAYER_NORM_FLOP, _LAYER_NORM_ROW_FLOP = 7, 4
# Per element: square, sum, times 1/rms, times w. Per row: division, eps, rsqrt.
_RMS_NORM_FLOP, _RMS_NORM_ROW_FLOP = 4, 3
# Per element: maximum, minus maximum, exp, sum, divide.
_SOFTMAX_FLOP = 5


def _check_norm(operation: str, operands: str, inputs: Types, outputs: Types, eps: float) -> None:
    weights = 1 if operation == "rms_norm" else 2
    expect_counts(operation, operands, inputs, outputs, (1 + weights,), (1,))
    x = inputs[0]
    expect_float(operation, "x", x)
    if not x.shape:
        refuse_shape(operation, "x", x, "(..., n)")
    n = x.shape[-1]
    for operand, weight in zip(("w", "bias"), inputs[1:], strict=False):
        expect_shape(operation, operand, weight, (n,), f"x has {n} columns")
        if weight.dtype != "fp32":
            expect_dtype(operation, operand, weight, x.dtype, "x is (fp32 is allowed too)")
    expect_like(operation, "out", outputs[0], x, "x")
    expect_range(operation, "eps", eps, 0.0, 1.0)


def _check_layer_norm(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    _check_norm("layer_norm", "x, w, bias -> out", inputs, outputs, attributes.number("eps"))


def _check_rms_norm(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    _check_norm("rms_norm", "x, w -> out", inputs, outputs, attributes.number("eps"))


def _rows(inputs: Types) -> int:
    n = inputs[0].shape[-1]
    return inputs[0].size // n if n else 0


def _layer_norm_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    flop = _LAYER_NORM_FLOP * inputs[0].size + _LAYER_NORM_ROW_FLOP * _rows(inputs)
    return elementwise_demand(inputs, outputs, flop)


def _rms_norm_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    flop = _RMS_NORM_FLOP * inputs[0].size + _RMS_NORM_ROW_FLOP * _rows(inputs)
    if attributes["offset"]:
        flop += inputs[1].size
    return elementwise_demand(inputs, outputs, flop)


def _check_softmax(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("softmax", "x -> out", inputs, outputs, (1,), (1,))
    expect_float("softmax", "x", inputs[0])
    if not inputs[0].shape:
        refuse_shape("softmax", "x", inputs[0], "(..., n)")
    expect_like("softmax", "out", outputs[0], inputs[0], "x")


def _softmax_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _SOFTMAX_FLOP * inputs[0].size)


NORMS = (
    define(
        "layer_norm",
        "x (..., n), w (n), bias (n) -> (..., n): (x - mean) / sqrt(variance + eps) * w + bias over the last axis",
        _check_layer_norm,
        _layer_norm_demand,
        {"eps": (float, None)},
    ),
    define(
        "rms_norm",
        "x (..., n), w (n) -> (..., n): x / sqrt(mean(x^2) + eps) * (offset + w) over the last axis",
        _check_rms_norm,
        _rms_norm_demand,
        {"eps": (float, None), "offset": (float, 0.0)},
    ),
    define("softmax", "x (..., n) -> (..., n): softmax over the last axis", _check_softmax, _softmax_demand),
)
