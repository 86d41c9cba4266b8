"""Kernels that only take time."""

from __future__ import annotations

from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define
from node.hardware.operations.expect import expect_counts, expect_range

_LONGEST_S = 1e9


def _check_delay(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("delay", "no operands", inputs, outputs, (0,), (0,))
    expect_range("delay", "seconds", attributes.number("seconds"), 0.0, _LONGEST_S, "s")


def _delay_demand(_: Types, __: Types, attributes: CompleteAttributes) -> Demand:
    return Demand("delay", 0.0, (), (), "fp32", "vector", {"seconds": attributes.number("seconds")})


CONTROL = (
    define(
        "delay",
        "no operands: holds its queue for `seconds` of device time",
        _check_delay,
        _delay_demand,
        {"seconds": (float, None)},
    ),
)
