"""Attention of one new token over a part of the cached ones, and what has to be kept up to date for it.

Source: SparF attention, algorithm 1 of InstAttention (HPCA 2025, doi 10.1109/HPCA61900.2025.00113), which makes SparQ
(Ribar et al., arXiv 2312.04985) read whole flash pages.
"""

from __future__ import annotations

from node.errors import BadAttribute
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

_SCORE_FLOP = 6
"""Per token and head: scale, exp, sum, compare against the k-th largest (about two passes), sum of the selected."""


def sparf_segments(inputs: Types) -> int:
    """Segments with a channel-indexed copy; the tail follows them."""
    return (len(inputs) - 5) // 3


def _check_sparf(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "sparf_attention"
    if len(inputs) < 5 or (len(inputs) - 5) % 3 or len(outputs) != 2:
        refuse_counts(name, "q, mean, counts[, c1, k1, v1, ...], k_tail, v_tail -> out, counts", inputs, outputs)
    q, mean, counts = inputs[:3]
    tail_k, tail_v = inputs[-2:]
    expect_float(name, "q", q)
    expect_rank(name, "q", q, "(b, h, d)", 3)
    batch, heads, dim = q.shape
    segments = sparf_segments(inputs)
    tokens = attributes.integers("tokens")
    if len(tokens) != segments + 1:
        raise BadAttribute(
            f"{name}: 'tokens' is {tokens}, expected {segments + 1} numbers: one a segment and one of the tail"
        )
    if len(tail_k.shape) != 4 or tail_k.shape[0] != batch or tail_k.shape[3] != dim:
        refuse_shape(name, "k_tail", tail_k, f"({batch}, g, T, {dim})", f"q is {q.shape}")
    groups = tail_k.shape[1]
    if groups == 0 or heads % groups:
        refuse_shape(name, "k_tail", tail_k, f"(b, g, T, d) where g divides {heads}", f"q has {heads} heads")
    expect_dtype(name, "k_tail", tail_k, q.dtype, "q is")
    expect_like(name, "v_tail", tail_v, tail_k, "k_tail")
    expect_shape(name, "mean", mean, (batch, groups, dim), f"k_tail is {tail_k.shape}")
    expect_dtype(name, "mean", mean, "fp32")
    expect_like(name, "counts", counts, TensorType((2,), "fp32"), "pages touched and pages held")
    for index in range(segments):
        channels, k, v = inputs[3 + 3 * index : 6 + 3 * index]
        operand = f"k{index + 1}"
        if len(k.shape) != 4 or k.shape[:2] != (batch, groups) or k.shape[3] != dim:
            refuse_shape(name, operand, k, f"({batch}, {groups}, T, {dim})", f"q is {q.shape}")
        expect_dtype(name, operand, k, q.dtype, "q is")
        expect_like(name, f"v{index + 1}", v, k, operand)
        expect_shape(name, f"c{index + 1}", channels, (batch, groups, dim, k.shape[2]), f"{operand} is {k.shape}")
        expect_dtype(name, f"c{index + 1}", channels, q.dtype, "q is")
        expect_range(name, f"tokens[{index}]", tokens[index], 0, k.shape[2], f"tokens, which {operand} holds")
    expect_range(name, "tokens[-1]", tokens[-1], 0, tail_k.shape[2], "tokens, which k_tail holds")
    expect_range(name, "channels", attributes.integer("channels"), 1, dim, f"channels of {dim}")
    expect_range(name, "keep", attributes.integer("keep"), 1, 2**62, "tokens")
    expect_range(name, "recent", attributes.integer("recent"), 0, attributes.integer("keep"), "tokens of those kept")
    expect_range(name, "page_share", attributes.number("page_share"), 0.0, 1.0)
    for attribute in ("group_tokens", "page_channels"):
        expect_range(name, attribute, attributes.integer(attribute), 1, 2**31)
    expect_like(name, "out", outputs[0], q, "q")
    expect_like(name, "output counts", outputs[1], counts, "counts")


def _sparf_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    q = inputs[0]
    batch, heads, dim = q.shape
    groups = inputs[-1].shape[1]
    token_bytes = batch * groups * dim * ITEM_BYTES[q.dtype]
    tokens, share = attributes.integers("tokens"), attributes.number("page_share")
    reads = [operand.nbytes for operand in inputs[:3]]
    group = attributes.integer("group_tokens")
    for count, capacity in zip(tokens[:-1], (k.shape[2] for k in inputs[4:-2:3]), strict=True):
        # A share of whole pages: what is left of the last page is not read without the rest of it.
        whole = min(-(-count // group) * group, capacity)
        reads += [round(share * whole * token_bytes)] * 3
    reads += [tokens[-1] * token_bytes] * 2
    total = sum(tokens)
    kept = min(attributes.integer("keep"), total)
    per_head = 2 * attributes.integer("channels") * total + _SCORE_FLOP * total + 4 * kept * dim + 3 * dim
    dims = {"batch": batch, "heads": heads, "kv_heads": groups, "tokens": total, "head_dim": dim}
    writes = tuple(out.nbytes for out in outputs)
    # A family of its own: the share of the pages is an expectation, not rounded up for every sequence and head.
    return Demand("sparse_attention", float(batch * heads * per_head), tuple(reads), writes, q.dtype, "tensor", dims)


def _check_running_mean(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "running_mean"
    expect_counts(name, "mean, x -> mean", inputs, outputs, (2,), (1,))
    mean, x = inputs
    expect_rank(name, "x", x, "(b, g, t, d)", 4)
    expect_float(name, "x", x)
    expect_shape(name, "mean", mean, (x.shape[0], x.shape[1], x.shape[3]), f"x is {x.shape}")
    expect_dtype(name, "mean", mean, "fp32", "a mean over a context is kept in full precision")
    expect_like(name, "output mean", outputs[0], mean, "mean")
    expect_range(name, "count", attributes.integer("count"), 0, 2**62, "tokens so far")
    expect_range(name, "tokens", attributes.integer("tokens"), 1, x.shape[2], "tokens, which x holds")


def _running_mean_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    mean, x = inputs
    batch, groups, _, dim = x.shape
    added = batch * groups * attributes.integer("tokens") * dim
    reads = (mean.nbytes, added * ITEM_BYTES[x.dtype])
    return elementwise_demand(inputs, outputs, added + 2 * mean.size, reads)


def _check_channel_write(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> None:
    name = "channel_write"
    expect_counts(name, "source -> cache", inputs, outputs, (1,), (1,))
    source, cache = inputs[0], outputs[0]
    expect_rank(name, "source", source, "(b, g, t, d)", 4)
    expect_rank(name, "cache", cache, "(b, g, d, T)", 4)
    batch, groups, held, dim = source.shape
    capacity = cache.shape[3]
    expect_shape(name, "cache", cache, (batch, groups, dim, capacity), f"source is {source.shape}")
    expect_dtype(name, "cache", cache, source.dtype, "source is")
    position, tokens = attributes.integer("position"), attributes.integer("tokens")
    expect_range(name, "position", position, 0, capacity, "tokens, which the cache holds")
    most = min(held, capacity - position)
    expect_range(name, "tokens", tokens, 0, most, f"tokens of {held} to {position} of {capacity}")


def _channel_write_demand(inputs: Types, outputs: Types, attributes: CompleteAttributes) -> Demand:
    batch, groups, _, dim = inputs[0].shape
    touched = batch * groups * dim * attributes.integer("tokens") * ITEM_BYTES[inputs[0].dtype]
    return elementwise_demand(inputs, outputs, 0, (touched,), (touched,))


SPARSE_ATTENTION = (
    define(
        "sparf_attention",
        "q (b, h, d), mean fp32 (b, g, d), counts fp32 (2)[, c1 (b, g, d, T1), k1 (b, g, T1, d), v1 (b, g, T1, d), "
        "...], k_tail (b, g, T, d), v_tail -> out (b, h, d), counts: SparF attention of one new token. Of the first "
        "tokens[i] tokens of each segment and of the tail, the `channels` largest channels of q choose `keep` tokens "
        "(the `recent` last ones always); the rest is stood for by the mean of v. counts adds up pages touched and "
        "pages that dense attention would read; `page_share` is the share of the pages of each operand that the cost "
        "counts as read",
        _check_sparf,
        _sparf_demand,
        {
            "tokens": (tuple, None),
            "channels": (int, None),
            "keep": (int, None),
            "scale": (float, None),
            "recent": (int, 0),
            "page_share": (float, 1.0),
            "group_tokens": (int, 16),
            "page_channels": (int, 8),
        },
    ),
    define(
        "running_mean",
        "mean fp32 (b, g, d), x (b, g, t, d) -> mean: the mean of `count` tokens becomes that of those and the first "
        "`tokens` of x",
        _check_running_mean,
        _running_mean_demand,
        {"count": (int, None), "tokens": (int, None)},
    ),
    define(
        "channel_write",
        "source (b, g, t, d) -> cache (b, g, d, T), in place: the first `tokens` tokens of source become tokens "
        "position:position+tokens of a cache whose channels are rows",
        _check_channel_write,
        _channel_write_demand,
        {"position": (int, None), "tokens": (int, None)},
        in_place=(0,),
    ),
)
"""SparF attention, the mean of v that it falls back on, and the channel-indexed copy of k."""
