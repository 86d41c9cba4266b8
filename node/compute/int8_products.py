"""Matrix products in int8 with a scale a row and a scale a column; sums are exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.errors import OutOfRange
from node.hardware.operations.attributes import CompleteAttributes


def _product(x: Tensor, x_scale: Tensor, w: Tensor, w_scale: Tensor) -> Tensor:
    # Products of 8 bits add up exactly in fp64, which has a fast kernel; int32 products have none.
    return (x.double() @ w.double().t()).float() * x_scale[:, None] * w_scale


def int8_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x int8 (t, k), x_scale fp32 (t), w int8 (n, k), w_scale fp32 (n) -> (t, n)."""
    x, x_scale, w, w_scale = inputs
    outputs[0].copy_(_product(x, x_scale, w, w_scale))


def int8_grouped_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """rows int8 (r, k), row_scale fp32 (r), w int8 (e, n, k), w_scale fp32 (e, n), ends int64 (e) -> (r, n).

    Raises:
        OutOfRange: ends that do not grow up to the number of rows.
    """
    rows, row_scale, w, w_scale, ends = inputs
    stops = ends.tolist()
    if stops != sorted(stops) or stops[0] < 0 or stops[-1] != len(rows):
        raise OutOfRange(f"int8_grouped_linear: ends is {stops}; expected numbers that grow to the {len(rows)} rows")
    made = torch.empty_like(outputs[0])
    start = 0
    for expert, stop in enumerate(stops):
        made[start:stop] = _product(rows[start:stop], row_scale[start:stop], w[expert], w_scale[expert])
        start = stop
    outputs[0].copy_(made)
