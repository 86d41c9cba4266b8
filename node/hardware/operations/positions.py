"""Rotary position embedding."""

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
    expect_rank,
    expect_shape,
    refuse_shape,
)
from node.hardware.rope_scaling import scaled_frequencies

_ROTARY_FLOP = 3  # per element: times cosine, times sine, sum
_LARGEST = 1e12


def _check_rotary(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("rotary", "x[, positions] -> out", inputs, outputs, (1, 2), (1,))
    x, head_dim = inputs[0], attributes.integer("head_dim")
    expect_float("rotary", "x", x)
    expect_rank("rotary", "x", x, "(b, t, h*d) or (b, h*d)", 2, 3)
    expect_range("rotary", "head_dim", head_dim, 2, x.shape[-1], "elements, the columns of x")
    if head_dim % 2 or x.shape[-1] % head_dim:
        refuse_shape("rotary", "x", x, "(..., h*d) with d even", f"head_dim is {head_dim}")
    expect_range("rotary", "position", attributes.integer("position"), 0, _LARGEST)
    if len(inputs) == 2:
        expect_rank("rotary", "x", x, "(b, h*d)", 2)
        expect_shape("rotary", "positions", inputs[1], x.shape[:1], f"x is {x.shape}")
        expect_dtype("rotary", "positions", inputs[1], "int64")
    expect_range("rotary", "theta", attributes.number("theta"), 1.0, _LARGEST)
    expect_range("rotary", "factor", attributes.number("factor"), 1e-6, _LARGEST)
    scaled_frequencies(head_dim, attributes.number("theta"), attributes.text("scaling"), 0)
    expect_like("rotary", "out", outputs[0], x, "x")


def _rotary_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    # The cosines and sines of a few positions stay on chip, so only x is counted.
    return elementwise_demand(inputs, outputs, _ROTARY_FLOP * inputs[0].size)


POSITIONS = (
    define(
        "rotary",
        "x (b, t, h*d) or (b, h*d)[, positions int64 (b)] -> the same: each head rotated by its token's position, "
        "first half against second; token i has position `position` + i, or `position` + positions[i], which is "
        "divided by `factor`; `scaling` is that of long contexts, as JSON",
        _check_rotary,
        _rotary_demand,
        {
            "head_dim": (int, None),
            "position": (int, None),
            "theta": (float, None),
            "factor": (float, 1.0),
            "scaling": (str, ""),
        },
    ),
)
