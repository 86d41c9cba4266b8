"""Causal attention over packed q, k and v, forward with its log-sum-exp and backward, in fp32 inside.

One sequence at a time, so that the weights of one (h, t, t) are all that is there of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.compute.positions import rotation
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.packed_attention import head_counts


def rotary_qkv(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """qkv (b, t, (h+2g)*d) -> the same."""
    batch, tokens, columns = inputs[0].shape
    heads, groups = head_counts(attributes)
    dim = columns // (heads + 2 * groups)
    packed = inputs[0].view(batch, tokens, heads + 2 * groups, dim)
    cosine, sine = rotation(tokens, dim, 0, attributes.number("theta"), attributes.number("factor"), inputs[0].dtype)
    if attributes["inverse"]:
        sine = -sine
    turning = packed[:, :, : heads + groups]
    first, second = turning[..., : dim // 2], turning[..., dim // 2 :]
    turned = turning * cosine + torch.cat((-second, first), -1) * sine
    result = outputs[0].view(packed.shape)
    result[:, :, heads + groups :].copy_(packed[:, :, heads + groups :])
    result[:, :, : heads + groups].copy_(turned)


def flash_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """qkv (b, t, (h+2g)*d) -> out (b, t, h*d), lse fp32 (b, h, t)."""
    out, lse = outputs
    for index, packed in enumerate(inputs[0]):
        q, k, v = _parts(packed, attributes)
        scores = _scores(q, k, attributes)
        lse[index].copy_(torch.logsumexp(scores, -1).view(lse.shape[1:]))
        attended = torch.softmax(scores, -1) @ v[:, None]
        out[index].copy_(_joined(attended))


def flash_attention_backward(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes
) -> None:
    """qkv (b, t, (h+2g)*d), out (b, t, h*d), lse (b, h, t), dout (b, t, h*d) -> dqkv (b, t, (h+2g)*d)."""
    for index, (packed, out, lse, dout) in enumerate(zip(*inputs, strict=True)):
        q, k, v = _parts(packed, attributes)
        weights = torch.exp(_scores(q, k, attributes) - lse.view(q.shape[:-1])[..., None])
        given, attended = _apart(dout, q), _apart(out, q)
        dv = (weights.transpose(-1, -2) @ given).sum(1)
        # A weight's gradient, minus what the sum of the row takes back: the row's product of output and its gradient.
        slope = given @ v[:, None].transpose(-1, -2) - (given * attended).sum(-1, keepdim=True)
        slope = weights * slope * attributes.number("scale")
        dq, dk = slope @ k[:, None], (slope.transpose(-1, -2) @ q).sum(1)
        outputs[0][index].copy_(torch.cat((_joined(dq), _joined(dk[:, None]), _joined(dv[:, None])), -1))


def _parts(packed: Tensor, attributes: CompleteAttributes) -> tuple[Tensor, Tensor, Tensor]:
    """q (g, h/g, t, d), k (g, t, d), v (g, t, d) in fp32, of one sequence (t, (h+2g)*d)."""
    heads, groups = head_counts(attributes)
    tokens, columns = packed.shape
    by_heads = packed.float().view(tokens, heads + 2 * groups, columns // (heads + 2 * groups)).transpose(0, 1)
    q = by_heads[:heads].reshape(groups, heads // groups, tokens, -1)
    return q, by_heads[heads : heads + groups], by_heads[heads + groups :]


def _apart(joined: Tensor, q: Tensor) -> Tensor:
    """(t, h*d) in the layout of `q` (g, h/g, t, d), in fp32."""
    groups, per_group, tokens, dim = q.shape
    return joined.float().view(tokens, groups * per_group, dim).transpose(0, 1).reshape(q.shape)


def _joined(by_heads: Tensor) -> Tensor:
    """(g, n, t, d) as (t, g*n*d)."""
    groups, count, tokens, dim = by_heads.shape
    return by_heads.reshape(groups * count, tokens, dim).transpose(0, 1).reshape(tokens, groups * count * dim)


def _scores(q: Tensor, k: Tensor, attributes: CompleteAttributes) -> Tensor:
    """Scaled scores (g, h/g, t, t), minus infinity where a query does not see a key."""
    tokens, window = q.shape[2], attributes.integer("window")
    scores = (q * attributes.number("scale")) @ k[:, None].transpose(-1, -2)
    seen = torch.ones(tokens, tokens, dtype=torch.bool).tril_()
    if window:
        seen = seen.triu_(1 - window)
    return scores.masked_fill_(~seen, -torch.inf)
