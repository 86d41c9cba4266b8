"""Multi-head latent attention over a prompt and over cached latents, in fp32 inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.compute.kv_types import from_cache
from node.hardware.operations.attention import attended_spans
from node.hardware.operations.attributes import CompleteAttributes


def head_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (b, h, k), w (h, n, k), or (h, k, n) where `turned` -> (b, h, n)."""
    x, w = inputs
    outputs[0].copy_(torch.bmm(x.transpose(0, 1), w if attributes["turned"] else w.transpose(1, 2)).transpose(0, 1))


def latent_prefill_attention(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes
) -> None:
    """q (b, t, h*d), q_rope (b, t, h*p), k (b, n, h*d), k_rope (b, n, p), v (b, n, h*v) -> (b, t, h*v)."""
    heads = attributes.integer("heads")
    q, q_rope, k, v = (_by_heads(inputs[index], heads) for index in (0, 1, 2, 4))
    k_rope = inputs[3].float()[:, None]
    scores = (q @ k.transpose(-1, -2) + q_rope @ k_rope.transpose(-1, -2)) * attributes.number("scale")
    ahead = 1 + attributes.integer("offset")
    scores.masked_fill_(torch.ones(scores.shape[-2:], dtype=torch.bool).triu_(ahead), -torch.inf)
    outputs[0].copy_((torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(outputs[0].shape))


def _by_heads(x: Tensor, heads: int) -> Tensor:
    """(b, t, h*d) as fp32 (b, h, t, d)."""
    return x.float().view(*x.shape[:2], heads, -1).transpose(1, 2)


def latent_decode_attention(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes
) -> None:
    """q (b, h, r), q_rope (b, h, p), c1, k_rope1[, c2, k_rope2, ...] (b, 1, T, r or p) -> out (b, h, r), lse (b, h)."""
    spans = attended_spans(attributes)
    latents, turned = (
        torch.cat([from_cache(inputs[first + 2 * i][:, 0, start:stop]) for i, (start, stop) in enumerate(spans)], 1)
        for first in (2, 3)
    )
    out, lse = outputs
    if not latents.shape[1]:
        out.zero_()
        lse.fill_(-torch.inf)
        return
    scores = torch.bmm(inputs[0].float(), latents.transpose(1, 2))
    scores.baddbmm_(inputs[1].float(), turned.transpose(1, 2)).mul_(attributes.number("scale"))
    lse.copy_(torch.logsumexp(scores, -1))
    out.copy_(torch.bmm(torch.softmax(scores, -1), latents))
