"""Multi-head latent attention: keys and values of all heads are projections of one latent vector a token.

A prompt expands the latents to keys and values of every head. A new token does not: its queries are projected into the
space of the latents instead (`head_linear`), so that only the latents and one rotated key a token are read.
Source: DeepSeek-V2, arXiv 2405.04434, section 2.1.
"""

from __future__ import annotations

from node.errors import BadAttribute
from node.hardware.kv_types import conversion_instructions, expect_cache
from node.hardware.operation import ITEM_BYTES, Demand, TensorType
from node.hardware.operations.attention import attended_spans, visible_pairs
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.define import Types, define
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


def _check_head_linear(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "head_linear"
    expect_counts(name, "x, w -> out", inputs, outputs, (2,), (1,))
    x, w = inputs
    expect_float(name, "x", x)
    expect_rank(name, "x", x, "(b, h, k)", 3)
    batch, heads, length = x.shape
    inner, columns = (1, 2) if attributes["turned"] else (2, 1)
    if len(w.shape) != 3 or w.shape[0] != heads or w.shape[inner] != length:
        expected = f"({heads}, {length}, n)" if attributes["turned"] else f"({heads}, n, {length})"
        refuse_shape(name, "w", w, expected, f"x is {x.shape}")
    expect_dtype(name, "w", w, x.dtype, "x is")
    expect_shape(name, "out", outputs[0], (batch, heads, w.shape[columns]), f"w is {w.shape}")
    expect_dtype(name, "out", outputs[0], x.dtype, "x is")


def _head_linear_demand(inputs: Types, outputs: Types, _: CompleteAttributes) -> Demand:
    (batch, heads, length), columns = inputs[0].shape, outputs[0].shape[2]
    reads = tuple(tensor.nbytes for tensor in inputs)
    # Heads stand side by side as the columns of one product: the same tiles, the same bytes.
    dims = {"m": batch, "n": heads * columns, "k": length}
    flop = 2.0 * batch * heads * columns * length
    return Demand("gemm", flop, reads, (outputs[0].nbytes,), inputs[0].dtype, "tensor", dims)


def _check_prefill(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "latent_prefill_attention"
    expect_counts(name, "q, q_rope, k, k_rope, v -> out", inputs, outputs, (5,), (1,))
    q, q_rope, k, k_rope, v = inputs
    heads = attributes.integer("heads")
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(b, t, h*d)", 3)
    expect_range(name, "heads", heads, 1, max(q.shape[2], 1), "heads, the columns of q")
    offset = attributes.integer("offset")
    expect_range(name, "offset", offset, 0, 1 << 40, "tokens before those of q")
    batch, keys = q.shape[0], q.shape[1] + offset
    for operand, tensor, tokens in (("q", q, q.shape[1]), ("q_rope", q_rope, q.shape[1]), ("v", v, keys)):
        if len(tensor.shape) != 3 or tensor.shape[2] % heads:
            refuse_shape(name, operand, tensor, f"(b, t, {heads}*d)", f"there are {heads} heads")
        expect_shape(name, operand, tensor, (batch, tokens, tensor.shape[2]), f"q is {q.shape}")
        expect_dtype(name, operand, tensor, q.dtype, "q is")
    expect_like(name, "k", k, TensorType((batch, keys, q.shape[2]), q.dtype), f"q and the {offset} tokens before")
    expect_shape(name, "k_rope", k_rope, (batch, keys, q_rope.shape[2] // heads), f"q_rope is {q_rope.shape}")
    expect_dtype(name, "k_rope", k_rope, q.dtype, "q is")
    expect_like(name, "out", outputs[0], TensorType((*q.shape[:2], v.shape[2]), q.dtype), "v, for the tokens of q")


def _prefill_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q, q_rope, _, _, v = inputs
    batch, tokens, _ = q.shape
    heads = attributes.integer("heads")
    offset = attributes.integer("offset")
    pairs = visible_pairs(tokens, tokens + offset, True, offset)
    columns = q.shape[2] + q_rope.shape[2] + v.shape[2]
    dims = {
        "batch": batch, "heads": heads, "kv_heads": heads, "tokens": tokens, "head_dim": columns / heads / 2,
        "causal": 1.0, "window": 0, "pairs": pairs,
    }  # fmt: skip
    reads = tuple(tensor.nbytes for tensor in inputs)
    flop = 2.0 * batch * pairs * columns
    return Demand("latent_prefill", flop, reads, (outputs[0].nbytes,), q.dtype, "tensor", dims)


def _check_decode(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "latent_decode_attention"
    if len(inputs) < 4 or len(inputs) % 2 or len(outputs) != 2:
        refuse_counts(name, "q, q_rope, c1, k_rope1[, c2, k_rope2, ...] -> out, lse", inputs, outputs)
    q, q_rope = inputs[:2]
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(b, h, r)", 3)
    batch, heads, rank = q.shape
    expect_rank(name, "q_rope", q_rope, "(b, h, p)", 3)
    expect_shape(name, "q_rope", q_rope, (batch, heads, q_rope.shape[2]), f"q is {q.shape}")
    expect_dtype(name, "q_rope", q_rope, q.dtype, "q is")
    segments = len(inputs) // 2 - 1
    tokens, starts = attributes.integers("tokens"), attributes.integers("starts")
    if len(tokens) != segments or (starts and len(starts) != segments):
        raise BadAttribute(
            f"{name}: 'tokens' is {tokens} and 'starts' {starts}, expected {segments} numbers each because there are "
            f"{segments} pairs of latents and rotated keys (an empty 'starts' is all zeros)"
        )
    for index in range(segments):
        c, k_rope = inputs[2 + 2 * index], inputs[3 + 2 * index]
        operand = f"c{index + 1}"
        expect_rank(name, operand, c, "(b, 1, T, r)", 4)
        capacity = c.shape[2]
        expect_shape(name, operand, c, (batch, 1, capacity, rank), f"q is {q.shape}")
        expect_cache(name, operand, c, q.dtype)
        expect_shape(
            name, f"k_rope{index + 1}", k_rope, (batch, 1, capacity, q_rope.shape[2]), f"{operand} is {c.shape}"
        )
        expect_dtype(name, f"k_rope{index + 1}", k_rope, c.dtype, f"{operand} is")
        expect_range(name, f"tokens[{index}]", tokens[index], 0, capacity, f"tokens, which {operand} holds")
        if starts:
            expect_range(name, f"starts[{index}]", starts[index], 0, tokens[index], "valid tokens of the segment")
    expect_like(name, "out", outputs[0], q, "q")
    expect_like(name, "lse", outputs[1], TensorType((batch, heads), "fp32"), "the log-sum-exp of (b, h, r)")


def _decode_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q, q_rope = inputs[:2]
    batch, heads, rank = q.shape
    turned = q_rope.shape[2]
    reads, total, converted = [q.nbytes, q_rope.nbytes], 0, 0.0
    for index, (start, stop) in enumerate(attended_spans(attributes)):
        total += stop - start
        cached = inputs[2 + 2 * index].dtype
        token_bytes = batch * ITEM_BYTES[cached]
        reads += [(stop - start) * token_bytes * rank, (stop - start) * token_bytes * turned]
        converted += conversion_instructions(cached, q.dtype, reads[-1] + reads[-2])
    dims: dict[str, float] = {
        "batch": batch, "heads": heads, "kv_heads": 1, "tokens": total, "rank": rank, "rope": turned,
    }  # fmt: skip
    if converted:
        dims["conversion"] = converted
    flop = 2.0 * batch * heads * total * (2 * rank + turned)
    writes = (outputs[0].nbytes, outputs[1].nbytes)
    return Demand("latent_decode", flop, tuple(reads), writes, q.dtype, "tensor", dims)


LATENT_ATTENTION = (
    define(
        "head_linear",
        "x (b, h, k), w (h, n, k) -> (b, h, n): each head times the transpose of its own matrix; `turned`: w (h, k, n)",
        _check_head_linear,
        _head_linear_demand,
        {"turned": (bool, False)},
    ),
    define(
        "latent_prefill_attention",
        "q (b, t, h*d), q_rope (b, t, h*p), k (b, n, h*d), k_rope (b, n, p), v (b, n, h*v) -> (b, t, h*v): causal "
        "softmax(scale (q k' + q_rope k_rope')) v, where all heads share k_rope; `offset` of the n keys "
        "come before q",
        _check_prefill,
        _prefill_demand,
        {"heads": (int, None), "scale": (float, None), "offset": (int, 0)},
    ),
    define(
        "latent_decode_attention",
        "q (b, h, r), q_rope (b, h, p), c1 (b, 1, T1, r), k_rope1 (b, 1, T1, p)[, c2, k_rope2, ...] -> out (b, h, r), "
        "lse fp32 (b, h): attention of one new token over tokens starts[i]:tokens[i] of each segment of latents, "
        "which are both keys and values; no token gives 0 and -inf; latents may be cached in another type than q",
        _check_decode,
        _decode_demand,
        {"tokens": (tuple, None), "starts": (tuple, ()), "scale": (float, None)},
    ),
)
