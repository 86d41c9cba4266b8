"""Attention over a prompt, over a block of one, over cached segments, and the merge of partial results.

FLOP of the attentions are those of the two matrix products (2 for a multiply and an add); what the softmax between
them costs is up to the model of the family. Query head ``i`` reads KV head ``i // (heads / kv_heads)``.
"""

from __future__ import annotations

from math import prod

from node.errors import BadAttribute
from node.hardware.kv_types import conversion_instructions, expect_cache
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
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
    refuse_shape,
)


def attended_pairs(tokens: int, causal: bool, window: int) -> int:
    """Pairs of query and key that attention over a prompt looks at, for one head and one sequence.

    Args:
        tokens: length of the prompt.
        causal: a token sees itself and what came before.
        window: a token sees itself and the ``window - 1`` before; 0 for all.
    """
    if not causal:
        return tokens * tokens
    if window == 0 or window >= tokens:
        return tokens * (tokens + 1) // 2
    return window * (window + 1) // 2 + (tokens - window) * window


def _check_groups(operation: str, heads: int, key: TensorType, operand: str) -> None:
    groups = key.shape[1]
    if groups == 0 or heads % groups:
        refuse_shape(operation, operand, key, f"(b, g, t, d) where g divides {heads}", f"q has {heads} heads")


def _check_prefill(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "prefill_attention"
    expect_counts(name, "q, k, v[, sinks] -> out", inputs, outputs, (3, 4), (1,))
    q, k, v = inputs[:3]
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(b, h, t, d)", 4)
    if len(inputs) == 4:
        expect_like(name, "sinks", inputs[3], TensorType((q.shape[1],), q.dtype), "a logit of every head")
    batch, heads, tokens, dim = q.shape
    expect_rank(name, "k", k, "(b, g, t, d)", 4)
    _check_groups(name, heads, k, "k")
    expect_shape(name, "k", k, (batch, k.shape[1], tokens, dim), f"q is {q.shape}")
    expect_dtype(name, "k", k, q.dtype, "q is")
    expect_like(name, "v", v, k, "k")
    expect_like(name, "out", outputs[0], q, "q")
    window = attributes.integer("window")
    if window < 0 or (window and not attributes["causal"]):
        raise BadAttribute(
            f"{name}: attribute 'window' is {window} with causal={attributes['causal']}, expected 0 for none, or a "
            f"number of tokens of a causal attention"
        )


def _prefill_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q, k = inputs[:2]
    batch, heads, tokens, dim = q.shape
    causal, window = bool(attributes["causal"]), attributes.integer("window")
    pairs = attended_pairs(tokens, causal, window)
    return Demand(
        "prefill_attention",
        4.0 * batch * heads * pairs * dim,
        tuple([each.nbytes for each in inputs]),
        (outputs[0].nbytes,),
        q.dtype,
        "tensor",
        {
            "batch": batch,
            "heads": heads,
            "kv_heads": k.shape[1],
            "tokens": tokens,
            "head_dim": dim,
            "causal": float(causal),
            "window": window,
            "pairs": pairs,
        },
    )


def visible_pairs(queries: int, keys: int, causal: bool, offset: int) -> int:
    """Pairs of query and key that attention over a block looks at, for one head and one sequence.

    Args:
        queries: tokens that ask.
        keys: tokens that are asked.
        causal: query ``i`` sees keys up to ``i + offset``.
        offset: position of the first query less that of the first key [tokens]; counts only where `causal`.
    """
    if not causal:
        return queries * keys
    # Query i sees i + offset + 1 keys, but no fewer than none and no more than all: a ramp between two flats.
    first, last = max(0, -offset), min(queries, max(0, keys - offset))
    ramp = max(0, last - first)
    return ramp * (offset + 1) + ramp * (first + last - 1) // 2 + max(0, queries - max(first, last)) * keys


def _check_block(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "block_attention"
    expect_counts(name, "q, k, v -> out, lse", inputs, outputs, (3,), (2,))
    q, k, v = inputs
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(t, b, h, d)", 4)
    _, batch, heads, dim = q.shape
    expect_rank(name, "k", k, "(n, b, g, d)", 4)
    keys, groups = k.shape[0], k.shape[2]
    if groups == 0 or heads % groups:
        refuse_shape(name, "k", k, f"(n, b, g, d) where g divides {heads}", f"q has {heads} heads")
    expect_shape(name, "k", k, (keys, batch, groups, dim), f"q is {q.shape}")
    expect_dtype(name, "k", k, q.dtype, "q is")
    expect_like(name, "v", v, k, "k")
    expect_like(name, "out", outputs[0], q, "q")
    expect_like(name, "lse", outputs[1], TensorType(q.shape[:3], "fp32"), "the log-sum-exp of (t, b, h, d)")
    offset = attributes.integer("offset")
    if offset and not attributes["causal"]:
        raise BadAttribute(
            f"{name}: attribute 'offset' is {offset} with causal=False, where every query sees every key"
        )


def _block_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q, k, v = inputs
    queries, batch, heads, dim = q.shape
    keys = k.shape[0]
    causal = bool(attributes["causal"])
    pairs = visible_pairs(queries, keys, causal, attributes.integer("offset"))
    return Demand(
        "prefill_attention",
        4.0 * batch * heads * pairs * dim,
        (q.nbytes, k.nbytes, v.nbytes),
        (outputs[0].nbytes, outputs[1].nbytes),
        q.dtype,
        "tensor",
        {
            "batch": batch,
            "heads": heads,
            "kv_heads": k.shape[2],
            "tokens": queries,
            "keys": keys,
            "head_dim": dim,
            "causal": float(causal),
            "window": 0,
            "pairs": pairs,
        },
    )


def attended_spans(attributes: CompleteAttributes) -> tuple[tuple[int, int], ...]:
    """First token and end of what decode attention reads of each segment."""
    tokens, starts = attributes.integers("tokens"), attributes.integers("starts")
    return tuple(zip(starts or (0,) * len(tokens), tokens, strict=True))


def _check_decode(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "decode_attention"
    if len(inputs) < 3 or len(outputs) != 2:
        refuse_counts(name, "q, k1, v1[, k2, v2, ...][, sinks] -> out, lse", inputs, outputs)
    q, first = inputs[0], inputs[1]
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(b, h, d)", 3)
    batch, heads, dim = q.shape
    segments = (len(inputs) - 1) // 2
    if len(inputs) % 2 == 0:
        expect_like(name, "sinks", inputs[-1], TensorType((heads,), q.dtype), "a logit of every head")
    tokens, starts = attributes.integers("tokens"), attributes.integers("starts")
    if len(tokens) != segments or (starts and len(starts) != segments):
        raise BadAttribute(
            f"{name}: 'tokens' is {tokens} and 'starts' {starts}, expected {segments} numbers each because there are "
            f"{segments} pairs of K and V (an empty 'starts' is all zeros)"
        )
    for index in range(segments):
        k, v = inputs[1 + 2 * index], inputs[2 + 2 * index]
        operand = f"k{index + 1}"
        if len(k.shape) != 4:
            refuse_shape(name, operand, k, "(b, g, T, d)")
        groups, capacity = first.shape[1], k.shape[2]
        if k.shape[0] != batch or k.shape[1] != groups or k.shape[3] != dim:
            refuse_shape(name, operand, k, f"({batch}, {groups}, T, {dim})", f"q is {q.shape} and k1 {first.shape}")
        if k.dtype != q.dtype:
            expect_cache(name, operand, k, q.dtype)
        expect_like(name, f"v{index + 1}", v, k, operand)
        if not 0 <= tokens[index] <= capacity:
            expect_range(name, f"tokens[{index}]", tokens[index], 0, capacity, f"tokens, which {operand} holds")
        if starts and not 0 <= starts[index] <= tokens[index]:
            expect_range(name, f"starts[{index}]", starts[index], 0, tokens[index], "valid tokens of the segment")
    _check_groups(name, heads, first, "k1")
    expect_like(name, "out", outputs[0], q, "q")
    expect_shape(name, "lse", outputs[1], (batch, heads), f"q is {q.shape}")
    expect_dtype(name, "lse", outputs[1], "fp32")


def _decode_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q = inputs[0]
    batch, heads, dim = q.shape
    groups = inputs[1].shape[1]
    token_elements = batch * groups * dim
    reads, total, converted = [q.nbytes], 0, 0.0
    for index, (start, stop) in enumerate(attended_spans(attributes)):
        total += stop - start
        cached = inputs[1 + 2 * index].dtype
        reads += [(stop - start) * token_elements * ITEM_BYTES[cached]] * 2
        if cached != q.dtype:
            converted += conversion_instructions(cached, q.dtype, 2 * reads[-1])
    if len(inputs) % 2 == 0:
        reads.append(inputs[-1].nbytes)
    dims: dict[str, float] = {
        "batch": batch, "heads": heads, "kv_heads": groups, "tokens": total, "head_dim": dim,
    }  # fmt: skip
    if converted:
        dims["conversion"] = converted
    flop = 4.0 * batch * heads * total * dim
    writes = (outputs[0].nbytes, outputs[1].nbytes)
    return Demand("decode_attention", flop, tuple(reads), writes, q.dtype, "tensor", dims)


def _check_merge(inputs: Types, outputs: Types, _: CompleteAttributes) -> None:
    name = "merge_attention"
    if len(inputs) < 2 or len(inputs) % 2 or not 1 <= len(outputs) <= 2:
        refuse_counts(name, "out1, lse1[, out2, lse2, ...] -> out[, lse]", inputs, outputs)
    first = inputs[0]
    expect_float(name, "out1", first)
    expect_rank(name, "out1", first, "(..., d)", 2, 8)
    lse = TensorType(first.shape[:-1], "fp32")
    for index in range(0, len(inputs), 2):
        part = index // 2 + 1
        expect_float(name, f"out{part}", inputs[index])
        expect_shape(name, f"out{part}", inputs[index], first.shape, f"out1 is {first.shape}")
        expect_like(name, f"lse{part}", inputs[index + 1], lse, "the log-sum-exp of (..., d)")
    expect_float(name, "out", outputs[0])
    expect_shape(name, "out", outputs[0], first.shape, f"out1 is {first.shape}")
    if len(outputs) == 2:
        expect_like(name, "lse", outputs[1], lse, "the log-sum-exp of (..., d)")


def _merge_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    parts, rows, dim = len(inputs) // 2, prod(inputs[0].shape[:-1]), inputs[0].shape[-1]
    # Per part: a multiply and an add per element; maximum, minus, exp and sum per row. Then one division, and the log.
    flop = rows * (parts * (2 * dim + 4) + dim + 2 * (len(outputs) - 1))
    return elementwise_demand(inputs, outputs, flop)


ATTENTION = (
    define(
        "prefill_attention",
        "q (b, h, t, d), k (b, g, t, d), v (b, g, t, d)[, sinks (h)] -> (b, h, t, d): softmax(scale q k') v; `window` "
        "tokens back; a sink is one more logit of its head, without a value",
        _check_prefill,
        _prefill_demand,
        {"scale": (float, None), "causal": (bool, True), "window": (int, 0)},
    ),
    define(
        "block_attention",
        "q (t, b, h, d), k (n, b, g, d), v (n, b, g, d) -> out (t, b, h, d), lse fp32 (t, b, h): attention of some "
        "tokens of a prompt over some others, tokens first, so that a range of them is one range of bytes; with "
        "`causal` query i sees keys up to i + `offset`; a query that sees none gives 0 and -inf",
        _check_block,
        _block_demand,
        {"scale": (float, None), "causal": (bool, True), "offset": (int, 0)},
    ),
    define(
        "decode_attention",
        "q (b, h, d), k1 (b, g, T1, d), v1 (b, g, T1, d)[, k2, v2, ...][, sinks (h)] -> out (b, h, d), "
        "lse fp32 (b, h): attention of one new token over tokens starts[i]:tokens[i] of each segment, with the log of "
        "the sum of the exponentials; no token gives 0 and -inf; K and V may be cached in another type than q",
        _check_decode,
        _decode_demand,
        {"tokens": (tuple, None), "starts": (tuple, ()), "scale": (float, None)},
    ),
    define(
        "merge_attention",
        "out1 (..., d), lse1 (...)[, out2, lse2, ...] -> out (..., d)[, lse (...)]: partial attentions over "
        "disjoint tokens joined into one; every out is fp32, bf16 or fp16",
        _check_merge,
        _merge_demand,
    ),
)
