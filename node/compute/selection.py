"""Choosing by index and by size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from node.errors import OutOfRange
from node.hardware.operations.attributes import CompleteAttributes


def embedding(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """table (v, n), ids int64 (...) -> (..., n), times `scale`."""
    table, ids = inputs
    out = outputs[0]
    _take(table, ids.view(-1), out.view(-1, table.shape[1]), "embedding")
    scale = attributes.number("scale")
    if scale != 1.0:
        out.mul_(rounded_scale(scale, out.dtype))


def gather(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (n, m), ids int64 (k) -> (k, m)."""
    _take(inputs[0], inputs[1], outputs[0], "gather")


def _take(table: Tensor, ids: Tensor, out: Tensor, name: str) -> None:
    try:
        torch.index_select(table, 0, ids, out=out)
    except IndexError as error:
        raise OutOfRange(
            f"{name}: an index lies outside of the table's {table.shape[0]} rows: the indices go from "
            f"{int(ids.min())} to {int(ids.max())}; expected 0 to {table.shape[0] - 1}"
        ) from error


@lru_cache(maxsize=8)
def rounded_scale(scale: float, dtype: torch.dtype) -> float:
    """Transformers keeps the scale of an embedding in the type of its weights (``Gemma3TextScaledWordEmbedding``)."""
    return float(torch.tensor(scale, dtype=dtype))


def top_k(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., v) -> values (..., k), indices int64 (..., k): largest first, equal ones by index."""
    x, k = inputs[0], attributes.integer("k")
    values, ids = torch.topk(x, k, -1)
    edge = values[..., -1:]
    # torch.topk leaves open which of equal elements it takes. Where the smallest value taken occurs beyond what was
    # taken, only a stable sort of everything decides; otherwise the set is right and only its order may not be.
    if int((x == edge).sum()) > int((values == edge).sum()):
        values, ids = torch.sort(x, dim=-1, descending=True, stable=True)
        values, ids = values[..., :k], ids[..., :k]
    else:
        ids, order = ids.sort(-1)
        values, order = values.gather(-1, order).sort(dim=-1, descending=True, stable=True)
        ids = ids.gather(-1, order)
    outputs[0].copy_(values)
    outputs[1].copy_(ids)


def argmax(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (..., v) -> int64 (...), the first of equal ones."""
    torch.argmax(inputs[0], -1, out=outputs[0])
