"""Gradients of linear layers, norms and activations, and what adds gradients up.

Reductions run in fp32 and are rounded once to the type of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import pi, sqrt

import torch
from torch import Tensor

from node.compute.elementwise import ACTIVATIONS
from node.hardware.operations.attributes import CompleteAttributes


def linear_input_backward(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """dy (..., n), w (n, k)[, sum (..., k)] -> dx (..., k)."""
    dy, w, dx = inputs[0], inputs[1], outputs[0]
    rows, result = dy.view(-1, w.shape[0]), dx.view(-1, w.shape[1])
    if len(inputs) == 3:
        torch.addmm(inputs[2].view(-1, w.shape[1]), rows, w, out=result)
    else:
        torch.mm(rows, w, out=result)


def linear_weight_backward(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (..., k), dy (..., n)[, dw sum][, db sum] -> dw (n, k)[, db (n)]."""
    dw = outputs[0]
    x = inputs[0].view(-1, dw.shape[1]).to(dw.dtype)
    dy = inputs[1].view(-1, dw.shape[0]).to(dw.dtype)
    added = inputs[2:]
    if added:
        torch.addmm(added[0], dy.t(), x, out=dw)
    else:
        torch.mm(dy.t(), x, out=dw)
    if len(outputs) == 2:
        total = dy.sum(0, dtype=torch.float32)
        outputs[1].copy_(total + added[1] if added else total)


def layer_norm_backward(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., n), w (n), dy (..., n) -> dx (..., n), dw (n), db (n)."""
    x, w, dy = (tensor.float() for tensor in inputs)
    n = x.shape[-1]
    centred = x - x.mean(-1, keepdim=True)
    inverse = torch.rsqrt(centred.square().mean(-1, keepdim=True) + attributes.number("eps"))
    normal, weighted = centred * inverse, dy * w
    mean = weighted.mean(-1, keepdim=True)
    dx = (weighted - mean - normal * (weighted * normal).mean(-1, keepdim=True)) * inverse
    dw, db = (dy * normal).view(-1, n).sum(0), dy.view(-1, n).sum(0)
    for out, value in zip(outputs, (dx, dw, db), strict=True):
        out.copy_(value)


def rms_norm_backward(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., n), w (n), dy (..., n) -> dx (..., n), dw (n)."""
    x, w, dy = (tensor.float() for tensor in inputs)
    inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + attributes.number("eps"))
    normal, weighted = x * inverse, dy * (w + attributes.number("offset"))
    dx = (weighted - normal * (weighted * normal).mean(-1, keepdim=True)) * inverse
    dw = (dy * normal).view(-1, x.shape[-1]).sum(0)
    outputs[0].copy_(dx)
    outputs[1].copy_(dw)


def _relu_slope(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-0.5 * x * x) / sqrt(2 * pi)
    return 0.5 * (1 + torch.erf(x / sqrt(2))) + x * density


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    root, cube = sqrt(2 / pi), 0.044715
    t = torch.tanh(root * (x + cube * x.pow(3)))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * cube * x * x)


def _silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


_SLOPES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": _relu_slope,
    "gelu": _gelu_slope,
    "gelu_tanh": _gelu_tanh_slope,
    "silu": _silu_slope,
}


def activation_backward(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (...), dy (...) -> dx (...)."""
    x, dy = inputs
    outputs[0].copy_(_SLOPES[attributes.text("kind")](x.float()) * dy)


def gated_activation_backward(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes
) -> None:
    """gate (...), up (...), dy (...) -> dgate (...), dup (...)."""
    gate, up, dy = (tensor.float() for tensor in inputs)
    kind = attributes.text("kind")
    dgate, dup = _SLOPES[kind](gate) * up * dy, ACTIVATIONS[kind](gate) * dy
    outputs[0].copy_(dgate)
    outputs[1].copy_(dup)


def sum_rows(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (m, n) -> (n)."""
    outputs[0].copy_(inputs[0].sum(0, dtype=torch.float32))


def accumulate(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """total (...), x (...) -> total (...)."""
    outputs[0].copy_(inputs[0].float() + attributes.number("factor") * inputs[1].float())


def scale(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (...) -> (...)."""
    torch.mul(inputs[0], attributes.number("factor"), out=outputs[0])


def fill(_: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """Nothing -> (...)."""
    outputs[0].fill_(attributes.number("value"))
