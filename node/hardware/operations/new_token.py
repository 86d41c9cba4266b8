"""The new token's part of decode attention, where the rest was computed before its keys and values arrived."""

from __future__ import annotations

from node.hardware.operation import Demand, TensorType
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_like,
    expect_rank,
    expect_shape,
    refuse_shape,
)


def _check(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "merge_new_token"
    expect_counts(name, "before, lse, q, k, v -> out", inputs, outputs, (5,), (1,))
    before, lse, q, k, v = inputs
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(b, h, d)", 3)
    batch, heads, dim = q.shape
    expect_like(name, "before", before, q, "q")
    expect_like(name, "lse", lse, TensorType((batch, heads), "fp32"), "the log-sum-exp of (b, h, d)")
    expect_rank(name, "k", k, "(b, g, d)", 3)
    groups = k.shape[1]
    if groups == 0 or heads % groups:
        refuse_shape(name, "k", k, f"(b, g, d) where g divides {heads}", f"q has {heads} heads")
    expect_shape(name, "k", k, (batch, groups, dim), f"q is {q.shape}")
    expect_dtype(name, "k", k, q.dtype, "q is")
    expect_like(name, "v", v, k, "k")
    expect_like(name, "out", outputs[0], q, "q")


def _demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    batch, heads, dim = inputs[2].shape
    # A product of rows (2 d), two exponentials and their sum, two weights, and a weighted sum (3 d).
    return elementwise_demand(inputs, outputs, batch * heads * (5 * dim + 7))


NEW_TOKEN = (
    define(
        "merge_new_token",
        "before (b, h, d), lse fp32 (b, h), q (b, h, d), k (b, g, d), v (b, g, d) -> out (b, h, d): attention `before` "
        "over some tokens, with the log of the sum of its exponentials, joined with that over one token more",
        _check,
        _demand,
        {"scale": (float, None)},
    ),
)
