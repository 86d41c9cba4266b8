"""Rotary position embedding in the rotate-half convention: element i of a head turns with element i + d/2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.rope_scaling import scaled_frequencies


def rotary(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (b, t, h*d) or (b, h*d)[, positions int64 (b)] -> the same shape.

    Cosines and sines are computed in fp32 and rounded to the type of x, and each product is rounded, so that half
    types give what transformers gives.
    Source: transformers, ``apply_rotary_pos_emb`` and ``Gemma3RotaryEmbedding``.
    """
    x = inputs[0]
    dim = attributes.integer("head_dim")
    tokens = x.shape[1] if x.dim() == 3 else 1
    theta, factor = attributes.number("theta"), attributes.number("factor")
    scaling, position = attributes.text("scaling"), attributes.integer("position")
    if len(inputs) == 2:
        each = [_at(1, dim, position + at, theta, factor, x.dtype, scaling) for at in inputs[1].tolist()]
        cosine, sine = (torch.stack(parts) for parts in zip(*each, strict=True))
    else:
        cosine, sine = rotation(tokens, dim, position, theta, factor, x.dtype, scaling)
    heads = x.view(x.shape[0], tokens, -1, dim)
    first, second = heads[..., : dim // 2], heads[..., dim // 2 :]
    turned = heads * cosine
    turned += torch.cat((-second, first), -1) * sine
    outputs[0].copy_(turned.view(x.shape))


@lru_cache(maxsize=8)
def rotation(
    tokens: int, dim: int, position: int, theta: float, factor: float, dtype: torch.dtype, scaling: str = ""
) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each (t, 1, d). The layers of one step ask for the same few, so a small cache hits."""
    frequency = 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)) / factor
    weight = 1.0
    if scaling:
        each, weight = scaled_frequencies(dim, theta, scaling, position + tokens)
        frequency = torch.tensor(each, dtype=torch.float32)
    angle = torch.arange(position, position + tokens, dtype=torch.float32)[:, None] * frequency
    angle = torch.cat((angle, angle), -1)[:, None, :]
    return (angle.cos() * weight).to(dtype), (angle.sin() * weight).to(dtype)


_at = lru_cache(maxsize=4096)(rotation.__wrapped__)
"""Of single tokens, as rows of many requests in one launch have them."""
