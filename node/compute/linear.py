"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes


def linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (..., k), w (n, k)[, bias (n)] -> (..., n)."""
    x, w = inputs[0], inputs[1]
    columns, length = w.shape
    rows, result = x.view(-1, length), outputs[0].view(-1, columns)
    if len(inputs) == 3:
        torch.addmm(inputs[2], rows, w.t(), out=result)
    else:
        torch.mm(rows, w.t(), out=result)


def matmul(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """a (m, k), b (k, n) -> (m, n)."""
    torch.mm(inputs[0], inputs[1], out=outputs[0])
