"""Symmetric int8 with one scale a row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes

_LARGEST = 127.0  # -128 is left out, so that the range is symmetric


def quantise(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (..., n) -> q int8 (..., n), scale fp32 (...). A row of zeros has scale 0. Ties round to even."""
    x = inputs[0].float()
    scale = x.abs().amax(-1) / _LARGEST
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    outputs[0].copy_((x / divisor[..., None]).round_().clamp_(-_LARGEST, _LARGEST))
    outputs[1].copy_(scale)


def dequantise(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """q int8 (..., n), scale fp32 (...) -> (..., n)."""
    outputs[0].copy_(inputs[0] * inputs[1][..., None])
