"""Gradients of the activations, from what went into them."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.elementwise import ACTIVATION_FLOP
from node.hardware.operations.expect import expect_choice, expect_counts, expect_float, expect_like

_SLOPE_FLOP = {
    "relu": 1,  # compare
    "gelu": 10,  # half of 1 + erf(x / sqrt(2)): 4; density times x: 5; sum
    "gelu_tanh": 17,  # argument 5, tanh, half of 1 + t: 2, 1 - t^2: 2, slope of the argument 3, products 3, sum
    "silu": 8,  # sigmoid 4; 1 - s, times x, plus 1, times s
}
"""Operations per element of the derivative; a transcendental function counts as one [FLOP]."""

_KINDS = tuple(_SLOPE_FLOP)


def _check_activation(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "activation_backward"
    expect_counts(name, "x, dy -> dx", inputs, outputs, (2,), (1,))
    expect_float(name, "x", inputs[0])
    expect_like(name, "dy", inputs[1], inputs[0], "x")
    expect_like(name, "dx", outputs[0], inputs[0], "x")
    expect_choice(name, "kind", attributes.text("kind"), _KINDS)


def _activation_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, (_SLOPE_FLOP[attributes.text("kind")] + 1) * inputs[0].size)


def _check_gated(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "gated_activation_backward"
    expect_counts(name, "gate, up, dy -> dgate, dup", inputs, outputs, (3,), (2,))
    gate = inputs[0]
    expect_float(name, "gate", gate)
    for operand, tensor in zip(("up", "dy", "dgate", "dup"), (*inputs[1:], *outputs), strict=True):
        expect_like(name, operand, tensor, gate, "gate")
    expect_choice(name, "kind", attributes.text("kind"), _KINDS)


def _gated_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    kind = attributes.text("kind")
    return elementwise_demand(inputs, outputs, (_SLOPE_FLOP[kind] + ACTIVATION_FLOP[kind] + 3) * inputs[0].size)


ACTIVATION_BACKWARD = (
    define(
        "activation_backward",
        "x (...), dy (...) -> dx (...): gradient of `activation`",
        _check_activation,
        _activation_demand,
        {"kind": (str, None)},
    ),
    define(
        "gated_activation_backward",
        "gate (...), up (...), dy (...) -> dgate (...), dup (...): gradients of `gated_activation`",
        _check_gated,
        _gated_demand,
        {"kind": (str, None)},
    ),
)
