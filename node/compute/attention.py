"""Attention over a prompt, a block of one and cached segments, and the merge of partial results, all in fp32 inside.

Query head ``i`` reads KV head ``i // (heads / kv_heads)``, as ``repeat_kv`` of transformers lays them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from node.compute.kv_types import from_cache
from node.hardware.operations.attention import attended_spans
from node.hardware.operations.attributes import CompleteAttributes


def prefill_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """q (b, h, t, d), k (b, g, t, d), v (b, g, t, d)[, sinks (h)] -> (b, h, t, d)."""
    q, k, v = inputs[:3]
    batch, heads, tokens, dim = q.shape
    groups = k.shape[1]
    if groups != heads:
        # K and V are copied once a query head: torch's own switch for grouped heads is younger than our oldest torch.
        wide = (batch, groups, heads // groups, tokens, dim)
        k = k[:, :, None].expand(wide).reshape(q.shape)
        v = v[:, :, None].expand(wide).reshape(q.shape)
    window = attributes.integer("window")
    windowed = 0 < window < tokens
    if len(inputs) == 4:
        scores = torch.matmul(q.float(), k.float().transpose(2, 3)) * attributes.number("scale")
        if attributes["causal"]:
            scores.masked_fill_(~_window_mask(tokens, window or tokens), -torch.inf)
        sinks = inputs[3].float().view(1, heads, 1, 1).expand(*scores.shape[:3], 1)
        weights = torch.softmax(torch.cat((scores, sinks), -1), -1)[..., :-1]
        outputs[0].copy_(torch.matmul(weights, v.float()))
        return
    outputs[0].copy_(
        functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=_window_mask(tokens, window) if windowed else None,
            is_causal=bool(attributes["causal"]) and not windowed,
            scale=attributes.number("scale"),
        )
    )


@lru_cache(maxsize=4)
def _window_mask(tokens: int, window: int) -> Tensor:
    """True where a query (row) attends to a key (column): itself and the ``window - 1`` before."""
    index = torch.arange(tokens)
    back = index[:, None] - index[None, :]
    return (back >= 0) & (back < window)


def block_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """q (t, b, h, d), k (n, b, g, d), v (n, b, g, d) -> out (t, b, h, d), lse fp32 (t, b, h)."""
    q, k, v = inputs
    queries, batch, heads, dim = q.shape
    keys, groups = k.shape[0], k.shape[2]
    out, lse = outputs
    if not keys:
        out.zero_()
        lse.fill_(-torch.inf)
        return
    # (b, g, heads of the group x queries, d): a matrix for every KV head, so that K and V are not copied.
    wide = (batch, groups, heads // groups, queries, dim)
    query = q.float().permute(1, 2, 0, 3).reshape(wide).flatten(2, 3) * attributes.number("scale")
    scores = torch.matmul(query, k.float().permute(1, 2, 3, 0)).view(*wide[:4], keys)
    if attributes["causal"]:
        row = torch.arange(queries) + attributes.integer("offset")
        scores.masked_fill_(torch.arange(keys)[None, :] > row[:, None], -torch.inf)
    total = torch.logsumexp(scores, -1)
    # A row of minus infinities has no softmax; nothing is seen there, so nothing is added.
    weights = torch.softmax(scores, -1).masked_fill_((total == -torch.inf)[..., None], 0.0)
    result = torch.matmul(weights.flatten(2, 3), v.float().permute(1, 2, 0, 3))
    out.copy_(result.view(batch, heads, queries, dim).permute(2, 0, 1, 3))
    lse.copy_(total.view(batch, heads, queries).permute(2, 0, 1))


def decode_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """q (b, h, d), k1, v1[, k2, v2, ...] each (b, g, T, d)[, sinks (h)] -> out (b, h, d), lse fp32 (b, h)."""
    q = inputs[0]
    batch, heads, dim = q.shape
    groups = inputs[1].shape[1]
    # The heads that share a KV head are the rows of one matrix, so K and V are read once a group.
    query = q.view(batch * groups, heads // groups, dim).float() * attributes.number("scale")
    scores, values = [], []
    for index, (start, stop) in enumerate(attended_spans(attributes)):
        if stop > start:
            k, v = inputs[1 + 2 * index], inputs[2 + 2 * index]
            length = k.shape[2]
            keys = from_cache(k.view(batch * groups, length, dim)[:, start:stop])
            scores.append(torch.bmm(query, keys.transpose(1, 2)))
            values.append(v.view(batch * groups, length, dim)[:, start:stop])
    out, lse = outputs
    if len(inputs) % 2 == 0:  # the last one has no value, and so no columns in the sum below
        sinks = inputs[-1].float().view(1, groups, heads // groups, 1)
        scores.append(sinks.expand(batch, *sinks.shape[1:]).reshape(batch * groups, heads // groups, 1))
    if not scores:
        out.zero_()
        lse.fill_(-torch.inf)
        return
    joined = torch.cat(scores, -1) if len(scores) > 1 else scores[0]
    # Not exp(joined - log-sum-exp): where scores are large the rounded log-sum-exp would scale the whole result.
    lse.copy_(torch.logsumexp(joined, -1).view(lse.shape))
    weights = torch.softmax(joined, -1)
    result, column = torch.zeros_like(query), 0
    for value in values:
        tokens = value.shape[1]
        result.baddbmm_(weights[:, :, column : column + tokens], from_cache(value))
        column += tokens
    out.copy_(result.view(q.shape))


def merge_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """out1 (..., d), lse1 (...)[, out2, lse2, ...] -> out (..., d)[, lse (...)].

    Softmax over all tokens is the mean of the parts' results, weighted by the exponentials of their log-sum-exps.
    """
    sums = torch.stack(list(inputs[1::2]))
    total = torch.logsumexp(sums, 0)
    # Where no part saw a token the softmax of minus infinities is undefined; every weight is 0 there.
    weights = torch.softmax(sums, 0).masked_fill(total == -torch.inf, 0.0)
    result = weights[0][..., None] * inputs[0]
    for weight, part in zip(weights[1:], inputs[2::2], strict=True):
        result += weight[..., None] * part
    outputs[0].copy_(result)
    if len(outputs) == 2:
        outputs[1].copy_(total)
