"""The ends of a training step: loss with its gradient, and the gradient of an embedding."""

from __future__ import annotations

from node.hardware.operation import Demand, TensorType
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
from node.hardware.operations.linear_backward import expect_gradient_dtype

# Per logit: maximum, minus maximum, exp, sum, divide, scale.
_CROSS_ENTROPY_FLOP = 6
_LARGEST = 1e30


def _check_cross_entropy(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "cross_entropy"
    expect_counts(name, "logits, targets[, loss] -> loss, dlogits", inputs, outputs, (2, 3), (2,))
    logits, targets = inputs[0], inputs[1]
    expect_float(name, "logits", logits)
    expect_rank(name, "logits", logits, "(r, v)", 2)
    expect_shape(name, "targets", targets, logits.shape[:1], f"logits is {logits.shape}")
    expect_dtype(name, "targets", targets, "int64")
    loss = TensorType((1,), "fp32")
    for operand in (*inputs[2:], outputs[0]):
        expect_like(name, "loss", operand, loss, "a sum")
    expect_like(name, "dlogits", outputs[1], logits, "logits")
    for attribute in ("scale", "gradient_scale"):
        expect_range(name, attribute, attributes.number(attribute), 0.0, _LARGEST)


def _cross_entropy_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _CROSS_ENTROPY_FLOP * inputs[0].size)


def _check_embedding(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "embedding_backward"
    expect_counts(name, "dy, ids[, sum] -> dtable", inputs, outputs, (2, 3), (1,))
    dy, ids, table = inputs[0], inputs[1], outputs[0]
    expect_float(name, "dy", dy)
    if not dy.shape:
        refuse_shape(name, "dy", dy, "(..., n)")
    expect_shape(name, "ids", ids, dy.shape[:-1], f"dy is {dy.shape}")
    expect_dtype(name, "ids", ids, "int64")
    expect_rank(name, "dtable", table, "(v, n)", 2)
    expect_shape(name, "dtable", table, (table.shape[0], dy.shape[-1]), f"dy is {dy.shape}")
    expect_gradient_dtype(name, "dtable", table, dy.dtype, "dy")
    if len(inputs) == 3:
        expect_like(name, "sum", inputs[2], table, "dtable")


def _embedding_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    dy, ids, table = inputs[0], inputs[1], outputs[0]
    flop = dy.size * (1 if attributes["scale"] == 1.0 else 2)
    if len(inputs) == 2:
        return elementwise_demand(inputs, outputs, flop)
    # Added to in place: the rows of the ids are read and written, at most all of them.
    touched = min(table.nbytes, ids.size * (table.nbytes // table.shape[0] if table.shape[0] else 0))
    return elementwise_demand(inputs, outputs, flop, (dy.nbytes, ids.nbytes, touched), (touched,))


LOSS = (
    define(
        "cross_entropy",
        "logits (r, v), targets int64 (r)[, loss fp32 (1)] -> loss fp32 (1), dlogits (r, v): sum over the rows of the "
        "negative log-likelihood times `scale`, added to the loss given, and its gradient times `gradient_scale`",
        _check_cross_entropy,
        _cross_entropy_demand,
        {"scale": (float, None), "gradient_scale": (float, 1.0)},
    ),
    define(
        "embedding_backward",
        "dy (..., n), ids int64 (...)[, sum (v, n)] -> dtable (v, n): gradient of `embedding` in the type of dy or "
        "fp32, added to `sum`",
        _check_embedding,
        _embedding_demand,
        {"scale": (float, 1.0)},
    ),
)
