"""Element by element. torch computes half types in fp32 and rounds each result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from node.hardware.operations.attributes import CompleteAttributes


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": functional.gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": functional.silu,
}
"""Functions by kind of activation."""


def add(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """a (..., n), b (..., n) or (n) -> (..., n)."""
    torch.add(inputs[0], inputs[1], out=outputs[0])


def multiply(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """a (..., n), b (..., n) or (n) -> (..., n)."""
    torch.mul(inputs[0], inputs[1], out=outputs[0])


def activation(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (...) -> (...)."""
    outputs[0].copy_(ACTIVATIONS[attributes.text("kind")](inputs[0]))


def gated_activation(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """gate (...), up (...) -> (...)."""
    torch.mul(ACTIVATIONS[attributes.text("kind")](inputs[0]), inputs[1], out=outputs[0])


def move(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (...) -> (...), rounded to the type of the output where that differs."""
    outputs[0].copy_(inputs[0])
