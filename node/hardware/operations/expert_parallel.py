"""Experts on several devices: which slot a token goes to, what a message holds, and rows to other ranks and back.

A slot is one copy of one expert on one rank; slots are numbered rank by rank. Every rank sorts its rows by slot and
sends each rank what is for it; how many rows that are is data, and counts tell the receiver.
Source: CloudMatrix384, arXiv 2506.12708, section 4.2.1 (static receive windows, counts behind the data, INT8 elements
with the scale of their token).
"""

from __future__ import annotations

from node.errors import BadAttribute, ShapeMismatch
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
    refuse_counts,
)

SCALE_BYTES = 4
"""Of the fp32 scale of a row [bytes]."""
_QUANTISE_FLOP = 4  # per element: magnitude, maximum, divide, round


def _check_slots(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "expert_slots"
    expect_counts(name, "experts -> slots", inputs, outputs, (1,), (1,))
    expect_rank(name, "experts", inputs[0], "(t, k)", 2)
    expect_dtype(name, "experts", inputs[0], "int64")
    expect_like(name, "slots", outputs[0], inputs[0], "experts")
    placement = attributes.integers("placement")
    if not placement or min(placement) < 0 or set(placement) != set(range(max(placement) + 1)):
        raise BadAttribute(
            f"{name}: attribute 'placement' names experts {sorted(set(placement))[:8]} of {len(placement)} slots; give "
            f"every expert from 0 on at least one slot"
        )


def _check_expert_counts(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "expert_counts"
    expect_counts(name, "slots -> counts", inputs, outputs, (1,), (1,))
    expect_rank(name, "slots", inputs[0], "(t, k)", 2)
    expect_dtype(name, "slots", inputs[0], "int64")
    count = attributes.integer("count")
    expect_range(name, "count", count, 1, 1 << 20, "slots")
    expect_like(name, "counts", outputs[0], TensorType((count,), "int64"), "one number a slot")


def _check_send(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "expert_send"
    if len(inputs) != 2 or len(outputs) < 2:
        refuse_counts(name, "x, slots -> messages1, ..., messagesw, order", inputs, outputs)
    x, slots = inputs
    *messages, order = outputs
    expect_rank(name, "x", x, "(t, n)", 2)
    expect_rank(name, "slots", slots, "(t, k)", 2)
    expect_dtype(name, "slots", slots, "int64")
    expect_shape(name, "slots", slots, (x.shape[0], slots.shape[1]), f"x is {x.shape}")
    expect_range(name, "per_rank", attributes.integer("per_rank"), 1, 1 << 20, "slots of a rank")
    _check_messages(name, messages, x.shape[1], x.dtype, slots.size)
    expect_like(name, "order", order, TensorType((slots.size,), "int64"), "the choice behind every row")


def _check_receive(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "expert_receive"
    if len(inputs) < 2 or len(outputs) != 3:
        refuse_counts(name, "messages1, ..., messagesw, counts -> rows, origin, ends", inputs, outputs)
    *messages, counts = inputs
    rows, origin, ends = outputs
    expect_rank(name, "counts", counts, "(w, s)", 2)
    expect_dtype(name, "counts", counts, "int64")
    expect_shape(name, "counts", counts, (len(messages), counts.shape[1]), f"there are {len(messages)} sources")
    expect_rank(name, "rows", rows, "(r, n)", 2)
    _check_messages(name, messages, rows.shape[1], rows.dtype, rows.shape[0])
    expect_like(name, "origin", origin, TensorType((rows.shape[0],), "int64"), "the message of every row")
    expect_like(name, "ends", ends, TensorType((counts.shape[1],), "int64"), "the row after the last of every slot")


def _check_return(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "expert_return"
    if len(inputs) != 2 or not outputs:
        refuse_counts(name, "rows, origin -> back1, ..., backw", inputs, outputs)
    rows, origin = inputs
    expect_rank(name, "rows", rows, "(r, n)", 2)
    expect_like(name, "origin", origin, TensorType((rows.shape[0],), "int64"), "the message of every row")
    _check_messages(name, outputs, rows.shape[1], rows.dtype, rows.shape[0])


def _check_combine(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "expert_combine"
    if len(inputs) < 3 or len(outputs) != 1:
        refuse_counts(name, "back1, ..., backw, order, weights -> out", inputs, outputs)
    *back, order, weights = inputs
    expect_rank(name, "weights", weights, "(t, k)", 2)
    expect_dtype(name, "weights", weights, "fp32")
    expect_like(name, "order", order, TensorType((weights.size,), "int64"), "the choice behind every row")
    expect_float(name, "out", outputs[0])
    expect_rank(name, "out", outputs[0], "(t, n)", 2)
    expect_shape(name, "out", outputs[0], (weights.shape[0], outputs[0].shape[1]), f"weights is {weights.shape}")
    _check_messages(name, back, outputs[0].shape[1], outputs[0].dtype, weights.size)


def _check_messages(name: str, messages: Types, width: int, dtype: str, rows: int) -> None:
    """Tensors of rows, one for each peer; bounds of open sizes may have more rows than there are."""
    for index, each in enumerate(messages):
        operand = f"peer {index + 1}"
        expect_rank(name, operand, each, "(r, n)", 2)
        expect_shape(name, operand, each, (each.shape[0], width), f"rows have {width} columns")
        expect_dtype(name, operand, each, dtype, "rows are")
    total = sum(each.shape[0] for each in messages)
    if total < rows:
        raise ShapeMismatch(f"{name}: {len(messages)} peers have {total} rows, expected {rows}")


def _check_quantise(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "quantise_message"
    expect_counts(name, "x -> message", inputs, outputs, (1,), (1,))
    x, tail = inputs[0], attributes.integer("tail")
    expect_float(name, "x", x)
    expect_rank(name, "x", x, "(t, n)", 2)
    _check_tail(name, tail)
    expect_shape(name, "message", outputs[0], (x.shape[0], x.shape[1] + tail), f"x is {x.shape}")
    expect_dtype(name, "message", outputs[0], "int8")


def _quantise_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, _QUANTISE_FLOP * inputs[0].size)


def _check_dequantise(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "dequantise_message"
    expect_counts(name, "message -> x", inputs, outputs, (1,), (1,))
    message, tail = inputs[0], attributes.integer("tail")
    expect_dtype(name, "message", message, "int8")
    expect_rank(name, "message", message, "(t, n)", 2)
    _check_tail(name, tail)
    expect_shape(name, "x", outputs[0], (message.shape[0], message.shape[1] - tail), f"message is {message.shape}")
    expect_float(name, "x", outputs[0])


def _check_tail(name: str, tail: int) -> None:
    if tail < SCALE_BYTES:
        raise BadAttribute(f"{name}: attribute 'tail' is {tail}; the scale of a row takes at least {SCALE_BYTES} bytes")


def _dequantise_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, outputs[0].size)


def _combine_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 2.0 * sum(each.size for each in inputs[:-2]))


def _moved(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 0)


EXPERT_PARALLEL = (
    define(
        "expert_slots",
        "experts int64 (t, k) -> slots int64 (t, k): the slot of each choice; `placement` is the expert of each slot, "
        "and the copies of an expert take turns, row by row from `first` on",
        _check_slots,
        _moved,
        {"placement": (tuple, None), "first": (int, 0)},
    ),
    define(
        "expert_counts",
        "slots int64 (t, k) -> counts int64 (e): rows that go to every slot; `count` is e",
        _check_expert_counts,
        _moved,
        {"count": (int, None)},
    ),
    define(
        "expert_send",
        "x (t, n), slots int64 (t, k) -> messages1 (r1, n), ..., messagesw (rw, n), order int64 (t*k): the rows of x "
        "for every rank, sorted by slot, and the choice behind every row of all; a rank has `per_rank` slots",
        _check_send,
        _moved,
        {"per_rank": (int, None)},
    ),
    define(
        "expert_receive",
        "messages1 (r1, n), ..., messagesw (rw, n), counts int64 (w, s) -> rows (r, n), origin int64 (r), ends int64 "
        "(s): the rows of all sources by slot; source i has counts[i] rows of each slot, in the order of slots",
        _check_receive,
        _moved,
    ),
    define(
        "expert_return",
        "rows (r, n), origin int64 (r) -> back1 (r1, n), ..., backw (rw, n): row i is row origin[i] of all that goes "
        "back, source by source",
        _check_return,
        _moved,
    ),
    define(
        "expert_combine",
        "back1 (r1, n), ..., backw (rw, n), order int64 (t*k), weights fp32 (t, k) -> (t, n): sum of the rows of each "
        "token by weight; row i of all is choice order[i]",
        _check_combine,
        _combine_demand,
    ),
    define(
        "quantise_message",
        "x (t, n) -> message int8 (t, n + tail): round(x / scale) with scale = max|x| / 127 of each row, and in the "
        "first bytes of the tail the scale in fp32",
        _check_quantise,
        _quantise_demand,
        {"tail": (int, 512)},
    ),
    define(
        "dequantise_message",
        "message int8 (t, n + tail) -> x (t, n): elements times the scale of their row",
        _check_dequantise,
        _dequantise_demand,
        {"tail": (int, 512)},
    ),
)
