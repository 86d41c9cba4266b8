"""Moving elements without arithmetic: splitting, joining, heads, rows, and writing into a KV cache."""

from __future__ import annotations

from node.hardware.kv_types import expect_cache
from node.hardware.operation import ITEM_BYTES, Demand
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define, elementwise_demand
from node.hardware.operations.expect import (
    expect_counts,
    expect_dtype,
    expect_float,
    expect_range,
    expect_rank,
    expect_shape,
    refuse_counts,
    refuse_shape,
)


def _move_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, 0)


def _check_split(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    if len(inputs) != 1 or not outputs:
        refuse_counts("split", "x -> out1[, out2, ...]", inputs, outputs)
    _check_columns("split", "x", inputs, "out", outputs)


def _check_concat(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    if not inputs or len(outputs) != 1:
        refuse_counts("concat", "x1[, x2, ...] -> out", inputs, outputs)
    _check_columns("concat", "out", outputs, "x", inputs)


def _check_columns(operation: str, whole_name: str, wholes: Types, part_name: str, parts: Types) -> None:
    whole = wholes[0]
    if not whole.shape:
        refuse_shape(operation, whole_name, whole, "(..., n)")
    rows, columns = whole.shape[:-1], 0
    for index, part in enumerate(parts):
        if part.shape[:-1] != rows or len(part.shape) != len(whole.shape):
            expected = str((*rows, f"n{index + 1}")).replace("'", "")
            refuse_shape(operation, f"{part_name}{index + 1}", part, expected, f"{whole_name} is {whole.shape}")
        expect_dtype(operation, f"{part_name}{index + 1}", part, whole.dtype, f"{whole_name} is")
        columns += part.shape[-1]
    if columns != whole.shape[-1]:
        refuse_shape(operation, whole_name, whole, f"(..., {columns})", f"the parts have {columns} columns together")


def _check_to_heads(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("to_heads", "x -> out", inputs, outputs, (1,), (1,))
    x, heads = inputs[0], attributes.integer("heads")
    expect_rank("to_heads", "x", x, "(b, t, h*d)", 3)
    batch, tokens, columns = x.shape
    expect_range("to_heads", "heads", heads, 1, columns, "heads, the columns of x")
    if columns % heads:
        refuse_shape("to_heads", "x", x, f"(b, t, {heads}*d)", f"it is split into {heads} heads")
    expect_shape("to_heads", "out", outputs[0], (batch, heads, tokens, columns // heads), f"x is {x.shape}")
    expect_dtype("to_heads", "out", outputs[0], x.dtype, "x is")


def _check_from_heads(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("from_heads", "x -> out", inputs, outputs, (1,), (1,))
    x = inputs[0]
    expect_rank("from_heads", "x", x, "(b, h, t, d)", 4)
    batch, heads, tokens, dim = x.shape
    expect_shape("from_heads", "out", outputs[0], (batch, tokens, heads * dim), f"x is {x.shape}")
    expect_dtype("from_heads", "out", outputs[0], x.dtype, "x is")


def _check_swap_axes(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("swap_axes", "x -> out", inputs, outputs, (1,), (1,))
    x = inputs[0]
    expect_rank("swap_axes", "x", x, "(a, b, n)", 3)
    expect_shape("swap_axes", "out", outputs[0], (x.shape[1], x.shape[0], x.shape[2]), f"x is {x.shape}")
    expect_dtype("swap_axes", "out", outputs[0], x.dtype, "x is")


def _check_take_rows(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("take_rows", "x -> out", inputs, outputs, (1,), (1,))
    x = inputs[0]
    expect_rank("take_rows", "x", x, "(b, t, n)", 3)
    batch, tokens, columns = x.shape
    expect_range("take_rows", "row", attributes.integer("row"), 0, tokens - 1, f"because x has {tokens} rows")
    expect_shape("take_rows", "out", outputs[0], (batch, columns), f"x is {x.shape}")
    expect_dtype("take_rows", "out", outputs[0], x.dtype, "x is")


def _take_rows_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    touched = outputs[0].nbytes
    return elementwise_demand(inputs, outputs, 0, (touched,), (touched,))


def _check_kv_write(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    expect_counts("kv_write", "source -> cache", inputs, outputs, (1,), (1,))
    source, cache = inputs[0], outputs[0]
    expect_rank("kv_write", "source", source, "(b, g, t, d)", 4)
    expect_rank("kv_write", "cache", cache, "(b, g, T, d)", 4)
    batch, groups, held, dim = source.shape
    capacity = cache.shape[2]
    expect_shape("kv_write", "cache", cache, (batch, groups, capacity, dim), f"source is {source.shape}")
    expect_cache("kv_write", "cache", cache, source.dtype)
    position, start = attributes.integer("position"), attributes.integer("start")
    tokens = attributes.integer("tokens")
    expect_range("kv_write", "start", start, 0, held, "tokens, which source holds")
    expect_range("kv_write", "position", position, 0, capacity, "tokens, which the cache holds")
    most = min(held - start, capacity - position)
    expect_range("kv_write", "tokens", tokens, 0, most, f"tokens from {start} of {held} to {position} of {capacity}")


def _kv_write_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    batch, groups, _, dim = inputs[0].shape
    elements = batch * groups * dim * attributes.integer("tokens")
    read, written = (elements * ITEM_BYTES[each.dtype] for each in (inputs[0], outputs[0]))
    flop = 0 if inputs[0].dtype == outputs[0].dtype else elements
    return elementwise_demand(inputs, outputs, flop, (read,), (written,))


def _check_kv_cast(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    expect_counts("kv_cast", "x -> cached", inputs, outputs, (1,), (1,))
    expect_float("kv_cast", "x", inputs[0])
    expect_shape("kv_cast", "cached", outputs[0], inputs[0].shape, "x has that shape")
    expect_cache("kv_cast", "cached", outputs[0], inputs[0].dtype)


def _kv_cast_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    return elementwise_demand(inputs, outputs, inputs[0].size)


LAYOUT = (
    define(
        "split", "x (..., n) -> outputs (..., n_i): the columns of x in consecutive parts", _check_split, _move_demand
    ),
    define("concat", "x1 (..., n_1)[, x2, ...] -> (..., n): columns joined in order", _check_concat, _move_demand),
    define(
        "to_heads",
        "x (b, t, h*d) -> (b, h, t, d): one matrix of tokens for each of `heads` heads",
        _check_to_heads,
        _move_demand,
        {"heads": (int, None)},
    ),
    define("from_heads", "x (b, h, t, d) -> (b, t, h*d): heads side by side", _check_from_heads, _move_demand),
    define(
        "swap_axes", "x (a, b, n) -> (b, a, n): token-major rows become sequence-major", _check_swap_axes, _move_demand
    ),
    define(
        "take_rows",
        "x (b, t, n) -> (b, n): row `row` of every sequence",
        _check_take_rows,
        _take_rows_demand,
        {"row": (int, None)},
    ),
    define(
        "kv_write",
        "source (b, g, t, d) -> cache (b, g, T, d), in place: tokens start:start+tokens of source become tokens "
        "position:position+tokens of the cache, the rest of which stays; rounded where the cache has another type",
        _check_kv_write,
        _kv_write_demand,
        {"position": (int, None), "tokens": (int, None), "start": (int, 0)},
        in_place=(0,),
    ),
    define(
        "kv_cast",
        "x (...) -> (...): keys or values rounded to a type of caches",
        _check_kv_cast,
        _kv_cast_demand,
    ),
)
