"""Moving elements without arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.compute.kv_types import to_cache
from node.hardware.operations.attributes import CompleteAttributes


def split(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (..., n) -> outputs (..., n_i)."""
    parts = torch.split(inputs[0], [out.shape[-1] for out in outputs], -1)
    for out, part in zip(outputs, parts, strict=True):
        out.copy_(part)


def concat(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x1 (..., n_1)[, x2, ...] -> (..., n)."""
    torch.cat(list(inputs), -1, out=outputs[0])


def to_heads(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (b, t, h*d) -> (b, h, t, d)."""
    batch, heads, tokens, dim = outputs[0].shape
    outputs[0].copy_(inputs[0].view(batch, tokens, heads, dim).transpose(1, 2))


def from_heads(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (b, h, t, d) -> (b, t, h*d)."""
    batch, heads, tokens, dim = inputs[0].shape
    outputs[0].view(batch, tokens, heads, dim).copy_(inputs[0].transpose(1, 2))


def swap_axes(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (a, b, n) -> (b, a, n)."""
    outputs[0].copy_(inputs[0].transpose(0, 1))


def take_rows(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (b, t, n) -> (b, n)."""
    outputs[0].copy_(inputs[0][:, attributes.integer("row")])


def kv_write(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """source (b, g, t, d) -> cache (b, g, T, d), of which only the written tokens change."""
    tokens, start, position = attributes.integer("tokens"), attributes.integer("start"), attributes.integer("position")
    cache = outputs[0]
    cache.narrow(2, position, tokens).copy_(to_cache(inputs[0].narrow(2, start, tokens), cache.dtype))


def kv_cast(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (...) -> (...), in a type of caches."""
    outputs[0].copy_(to_cache(inputs[0], outputs[0].dtype))
