"""Cross-entropy with its gradient, and the gradient of an embedding; sums in fp32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.compute.selection import rounded_scale
from node.errors import OutOfRange
from node.hardware.operations.attributes import CompleteAttributes


def cross_entropy(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """logits (r, v), targets int64 (r)[, loss (1)] -> loss fp32 (1), dlogits (r, v)."""
    logits, targets = inputs[0], inputs[1]
    _check_ids("cross_entropy", targets, logits.shape[1])
    likelihood = torch.log_softmax(logits, -1, dtype=torch.float32)
    picked = likelihood.gather(1, targets[:, None])
    factor = attributes.number("scale")
    total = picked.sum() * -factor
    outputs[0].copy_((total + inputs[2] if len(inputs) == 3 else total).reshape(1))
    gradient = likelihood.exp_()
    gradient.scatter_add_(1, targets[:, None], torch.full_like(picked, -1.0))
    outputs[1].copy_(gradient.mul_(factor * attributes.number("gradient_scale")))


def embedding_backward(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """dy (..., n), ids int64 (...)[, sum (v, n)] -> dtable (v, n)."""
    dy, ids, table = inputs[0], inputs[1].reshape(-1), outputs[0]
    _check_ids("embedding_backward", ids, table.shape[0])
    rows = dy.reshape(-1, table.shape[1]).float()
    factor = attributes.number("scale")
    if factor != 1.0:
        rows = rows * rounded_scale(factor, dy.dtype)
    total = inputs[2].float() if len(inputs) == 3 else torch.zeros(table.shape)
    table.copy_(total.index_add(0, ids, rows))


def _check_ids(operation: str, ids: Tensor, rows: int) -> None:
    """Refuses indices beyond the table, which torch's scatter kernels would write to.

    Raises:
        OutOfRange: an index below 0 or beyond the last row.
    """
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < rows:
        raise OutOfRange(
            f"{operation}: an index lies outside of the table's {rows} rows: the indices go from "
            f"{int(ids.min())} to {int(ids.max())}; expected 0 to {rows - 1}"
        )
