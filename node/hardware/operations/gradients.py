"""Sums and factors of gradients: rows added up, buffers of another type added, scaled, filled."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_float,
    expect_like,
    expect_number,
    expect_range,
    expect_rank,
    expect_shape,
)
from node.hardware.operations.linear_backward import expect_gradient_dtype

_LARGEST = 1e30


def _check_sum_rows(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "sum_rows"
    expect_counts(name, "x -> out", inputs, outputs, (1,), (1,))
    x, out = inputs[0], outputs[0]
    expect_float(name, "x", x)
    expect_rank(name, "x", x, "(m, n)", 2)
    expect_shape(name, "out", out, x.shape[1:], f"x is {x.shape}")
    expect_gradient_dtype(name, "out", out, x.dtype, "x")


def _check_accumulate(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "accumulate"
    expect_counts(name, "total, x -> total", inputs, outputs, (2,), (1,))
    total, x = inputs
    expect_float(name, "total", total)
    expect_float(name, "x", x)
    expect_shape(name, "x", x, total.shape, "total has that shape")
    expect_like(name, "output total", outputs[0], total, "total")
    expect_range(name, "factor", attributes.number("factor"), -_LARGEST, _LARGEST)


def _accumulate_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, inputs[0].size * (1 if attributes["factor"] == 1.0 else 2))


def _check_scale(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "scale"
    expect_counts(name, "x -> out", inputs, outputs, (1,), (1,))
    expect_float(name, "x", inputs[0])
    expect_like(name, "out", outputs[0], inputs[0], "x")
    expect_range(name, "factor", attributes.number("factor"), -_LARGEST, _LARGEST)


def _size_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, inputs[0].size)


def _check_fill(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("fill", "-> out", inputs, outputs, (0,), (1,))
    expect_number("fill", "out", outputs[0])
    expect_range("fill", "value", attributes.number("value"), -_LARGEST, _LARGEST)


def _fill_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 0)


GRADIENTS = (
    define(
        "sum_rows",
        "x (m, n) -> (n): sum over the rows, in fp32 inside, in the type of x or fp32",
        _check_sum_rows,
        _size_demand,
    ),
    define(
        "accumulate",
        "total (...), x (...) of any type -> total: total + factor * x, rounded once",
        _check_accumulate,
        _accumulate_demand,
        {"factor": (float, 1.0)},
    ),
    define("scale", "x (...) -> (...): factor * x", _check_scale, _size_demand, {"factor": (float, None)}),
    define("fill", "-> (...): `value` everywhere", _check_fill, _fill_demand, {"value": (float, None)}),
)
