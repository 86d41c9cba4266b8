"""Joining attention over earlier tokens with one token more, in fp32 inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes


def merge_new_token(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """before (b, h, d), lse fp32 (b, h), q (b, h, d), k (b, g, d), v (b, g, d) -> out (b, h, d).

    A single token has the whole weight of its own softmax, so its attention is v and its log-sum-exp the scaled q k'.
    """
    before, lse, q, k, v = inputs
    batch, heads, dim = q.shape
    groups = k.shape[1]
    wide = (batch, groups, heads // groups, dim)
    score = (q.float().view(wide) * k.float()[:, :, None]).sum(-1).view(batch, heads) * attributes.number("scale")
    # Weight of the new token, e^score / (e^score + e^lse); 1 where nothing was attended to before.
    weight = torch.sigmoid(score - lse)[..., None]
    value = v.float()[:, :, None].expand(wide).reshape(batch, heads, dim)
    outputs[0].copy_((1.0 - weight) * before + weight * value)
