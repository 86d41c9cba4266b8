"""Gradients of the normalisations. Mean and variance are computed again from x; arithmetic in fp32, rounded once."""

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
from node.hardware.operations.linear_backward import expect_gradient_dtype

# Per element: statistics 4, normalise 1; dy w 1, its sum 1, its product with normed x summed 2; dx 4; dw 2; db 1.
_LAYER_NORM_FLOP = 16
# Per element: statistics 2, normalise 1; dy w 1, its product with normed x summed 2; dx 3; dw 2.
_RMS_NORM_FLOP = 11


def _check(operation: str, operands: str, inputs: Types, outputs: Types, eps: float) -> None:
    weights = 1 if operation.startswith("rms") else 2
    expect_counts(operation, operands, inputs, outputs, (3,), (1 + weights,))
    x, w, dy = inputs
    expect_float(operation, "x", x)
    if not x.shape:
        refuse_shape(operation, "x", x, "(..., n)")
    n = x.shape[-1]
    expect_shape(operation, "w", w, (n,), f"x has {n} columns")
    if w.dtype != "fp32":
        expect_dtype(operation, "w", w, x.dtype, "x is (fp32 is allowed too)")
    expect_like(operation, "dy", dy, x, "x")
    expect_like(operation, "dx", outputs[0], x, "x")
    for operand, gradient in zip(("dw", "db"), outputs[1:], strict=False):
        expect_shape(operation, operand, gradient, (n,), f"x has {n} columns")
        expect_gradient_dtype(operation, operand, gradient, x.dtype, "x")
    expect_range(operation, "eps", eps, 0.0, 1.0)


def _check_layer_norm(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    _check("layer_norm_backward", "x, w, dy -> dx, dw, db", inputs, outputs, attributes.number("eps"))


def _check_rms_norm(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    _check("rms_norm_backward", "x, w, dy -> dx, dw", inputs, outputs, attributes.number("eps"))


def _layer_norm_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _LAYER_NORM_FLOP * inputs[0].size)


def _rms_norm_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _RMS_NORM_FLOP * inputs[0].size)


NORMS_BACKWARD = (
    define(
        "layer_norm_backward",
        "x (..., n), w (n), dy (..., n) -> dx (..., n), dw (n), db (n): gradients of `layer_norm`",
        _check_layer_norm,
        _layer_norm_demand,
        {"eps": (float, None)},
    ),
    define(
        "rms_norm_backward",
        "x (..., n), w (n), dy (..., n) -> dx (..., n), dw (n): gradients of `rms_norm`",
        _check_rms_norm,
        _rms_norm_demand,
        {"eps": (float, None), "offset": (float, 0.0)},
    ),
)
