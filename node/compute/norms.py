"""Normalisations, computed in fp32 and rounded once to the type of x."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from node.hardware.operations.attributes import CompleteAttributes


def layer_norm(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., n), w (n), bias (n) -> (..., n)."""
    x, w, bias = inputs
    outputs[0].copy_(functional.layer_norm(x.float(), w.shape, w.float(), bias.float(), attributes.number("eps")))


def rms_norm(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., n), w (n) -> (..., n), times ``offset + w``.

    In half precision Llama rounds before it multiplies with the weight and Gemma after; this one is Gemma's.
    Source: transformers, ``Gemma3RMSNorm`` and ``LlamaRMSNorm``.
    """
    x, w = inputs[0].float(), inputs[1].float()
    offset = attributes.number("offset")
    normal = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + attributes.number("eps"))
    outputs[0].copy_(normal.mul_(w + offset if offset else w))


def softmax(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (..., n) -> (..., n)."""
    outputs[0].copy_(torch.softmax(inputs[0], -1, dtype=torch.float32))
