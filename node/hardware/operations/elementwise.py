"""Element by element: sum, product, activations, change of type, copy."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_choice,
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_number,
    expect_shape,
)

ACTIVATION_FLOP = {
    "relu": 1,  # maximum
    "gelu": 5,  # times 1/sqrt(2), erf, plus 1, half, times x
    "gelu_tanh": 9,  # square, cube, times c, plus x, times sqrt(2/pi), tanh, plus 1, half, times x
    "silu": 4,  # negate, exp, plus 1, divide
}
"""Operations per element by kind of activation; a transcendental function counts as one [FLOP]."""

_KINDS = tuple(ACTIVATION_FLOP)


def _check_pair(operation: str, inputs: Types, outputs: Types) -> None:
    expect_counts(operation, "a, b -> out", inputs, outputs, (2,), (1,))
    a, b = inputs
    expect_number(operation, "a", a)
    if b.shape != a.shape:
        columns = a.shape[-1:]
        expect_shape(operation, "b", b, columns, f"a is {a.shape}; b has its shape or one row of it")
    expect_dtype(operation, "b", b, a.dtype, "a is")
    expect_like(operation, "out", outputs[0], a, "a")


def _check_add(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    _check_pair("add", inputs, outputs)


def _check_multiply(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    _check_pair("multiply", inputs, outputs)


def _pair_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, inputs[0].size)


def _check_activation(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("activation", "x -> out", inputs, outputs, (1,), (1,))
    expect_float("activation", "x", inputs[0])
    expect_like("activation", "out", outputs[0], inputs[0], "x")
    expect_choice("activation", "kind", attributes.text("kind"), _KINDS)


def _activation_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, ACTIVATION_FLOP[attributes.text("kind")] * inputs[0].size)


def _check_gated(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("gated_activation", "gate, up -> out", inputs, outputs, (2,), (1,))
    expect_float("gated_activation", "gate", inputs[0])
    expect_like("gated_activation", "up", inputs[1], inputs[0], "gate")
    expect_like("gated_activation", "out", outputs[0], inputs[0], "gate")
    expect_choice("gated_activation", "kind", attributes.text("kind"), _KINDS)


def _gated_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, (ACTIVATION_FLOP[attributes.text("kind")] + 1) * inputs[0].size)


def _check_cast(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("cast", "x -> out", inputs, outputs, (1,), (1,))
    expect_shape("cast", "out", outputs[0], inputs[0].shape, "x has that shape")


def _check_copy(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("copy", "x -> out", inputs, outputs, (1,), (1,))
    expect_like("copy", "out", outputs[0], inputs[0], "x")


def _move_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 0)


ELEMENTWISE = (
    define("add", "a (..., n), b (..., n) or (n) -> (..., n): a + b", _check_add, _pair_demand),
    define("multiply", "a (..., n), b (..., n) or (n) -> (..., n): a * b", _check_multiply, _pair_demand),
    define(
        "activation",
        "x (...) -> (...): relu, gelu (erf), gelu_tanh or silu of x, as `kind` says",
        _check_activation,
        _activation_demand,
        {"kind": (str, None)},
    ),
    define(
        "gated_activation",
        "gate (...), up (...) -> (...): activation of the gate, times up",
        _check_gated,
        _gated_demand,
        {"kind": (str, None)},
    ),
    define("cast", "x (...) -> (...) of another type: x rounded to the type of the output", _check_cast, _move_demand),
    define("copy", "x (...) -> (...): the same bytes in another place", _check_copy, _move_demand),
)
