"""One tensor out of several of the same shape, as collectives need it."""

from __future__ import annotations

from node.errors import DtypeMismatch
from node.hardware.operation import Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import FLOATS, expect_choice, expect_like, expect_number, refuse_counts

_KINDS = ("sum", "max", "min", "mean")


def _check_reduce(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    if not inputs or len(outputs) != 1:
        refuse_counts("reduce", "a1[, a2, ...] -> out", inputs, outputs)
    first, kind = inputs[0], attributes.text("kind")
    expect_choice("reduce", "kind", kind, _KINDS)
    expect_number("reduce", "a1", first)
    if kind == "mean" and first.dtype not in FLOATS and first.dtype != "fp64":
        raise DtypeMismatch(f"reduce: a1 is {first.dtype}, expected fp64, fp32, bf16 or fp16 for a mean; cast it first")
    for index in range(1, len(inputs)):
        expect_like("reduce", f"a{index + 1}", inputs[index], first, "a1")
    expect_like("reduce", "out", outputs[0], first, "a1")


def _reduce_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    steps = len(inputs) - 1 + (attributes["kind"] == "mean")
    return elementwise_demand(inputs, outputs, steps * inputs[0].size)


REDUCTION = (
    define(
        "reduce",
        "a1 (...)[, a2 (...), ...] -> (...): sum, max, min or mean over the operands, in their order",
        _check_reduce,
        _reduce_demand,
        {"kind": (str, None)},
    ),
)
