"""Mixtures of experts. Scores and sums are fp32; every product is rounded to the type of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from node.errors import OutOfRange
from node.hardware.operations.attributes import CompleteAttributes


def expert_gate(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """logits (t, e)[, bias (e)] -> weights fp32 (t, k), experts int64 (t, k).

    The bias decides who is chosen and never how much a chosen expert counts.
    Source: DeepSeek-V3, arXiv 2412.19437, section 2.1.2.
    """
    logits, kind = inputs[0].float(), attributes.text("score")
    scores = {"softmax": lambda: torch.softmax(logits, -1), "sigmoid": lambda: torch.sigmoid(logits)}.get(
        kind, lambda: logits
    )()
    wanted = scores + inputs[1].float() if len(inputs) == 2 else scores
    groups, kept = attributes.integer("groups"), attributes.integer("kept_groups")
    if kept < groups:
        grouped = wanted.view(len(wanted), groups, -1)
        of_group = grouped.topk(attributes.integer("group_top"), -1).values.sum(-1)
        left = torch.ones_like(of_group, dtype=torch.bool).scatter_(1, _first(of_group, kept), False)
        wanted = grouped.masked_fill(left[..., None], -torch.inf).flatten(1)
    chosen = _first(wanted, attributes.integer("k"))
    weights = scores.gather(1, chosen)
    if kind == "chosen_softmax":
        weights = torch.softmax(weights, -1)
    if attributes["normalise"]:
        weights = weights / weights.sum(-1, keepdim=True)
    outputs[0].copy_(weights * attributes.number("scale"))
    outputs[1].copy_(chosen)


def _first(scores: Tensor, count: int) -> Tensor:
    """Columns of the `count` largest of every row, largest first, the first of equal ones."""
    return torch.sort(scores, dim=-1, descending=True, stable=True).indices[:, :count]


def expert_rows(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (t, n), experts int64 (t, k)[, dropped (1)] -> rows (t*k, n), order int64 (t*k), ends int64 (e)[, dropped].

    Tokens beyond the capacity of an expert come last; they are those of the highest numbers, since the sort is stable.
    Source: GShard, arXiv 2006.16668, section 2.2; Switch Transformers, arXiv 2101.03961, section 2.2.

    Raises:
        OutOfRange: an expert that does not exist.
    """
    x, chosen = inputs[:2]
    flat, count, capacity = chosen.reshape(-1), attributes.integer("count"), attributes.integer("capacity")
    if int(flat.min()) < 0 or int(flat.max()) >= count:
        raise OutOfRange(
            f"expert_rows: experts go from {int(flat.min())} to {int(flat.max())}; expected 0 to {count - 1}"
        )
    order = torch.argsort(flat, stable=True)
    counts = torch.bincount(flat, minlength=count)
    if capacity:
        place = torch.arange(len(flat)) - (counts.cumsum(0) - counts)[flat[order]]
        order = torch.cat((order[place < capacity], order[place >= capacity]))
        counts = counts.clamp(max=capacity)
    rows, ends = x[order // chosen.shape[1]], counts.cumsum(0)
    dropped = [each + (len(flat) - ends[-1]) for each in inputs[2:]]
    for out, result in zip(outputs, (rows, order, ends, *dropped), strict=True):
        out.copy_(result)


def grouped_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """rows (r, k), w (e, n, k), ends int64 (e)[, bias (e, n)] -> (r, n).

    Raises:
        OutOfRange: ends that do not grow up to the number of rows, or by more than the capacity.
    """
    rows, w, ends = inputs[:3]
    bias = inputs[3] if len(inputs) == 4 else None
    grouped_products(rows, lambda expert: w[expert], ends, bias, outputs[0], attributes.integer("capacity"))


def grouped_products(
    rows: Tensor, matrix: Callable[[int], Tensor], ends: Tensor, bias: Tensor | None, out: Tensor, capacity: int = 0
) -> None:
    """The rows of each expert times the transpose of its matrix, plus its bias; zeros for those of no expert.

    Raises:
        OutOfRange: ends that do not grow up to the number of rows, or by more than the capacity.
    """
    start = 0
    stops = ends.tolist()
    wrong = stops != sorted(stops) or stops[0] < 0 or stops[-1] > len(rows)
    if wrong or (not capacity and stops[-1] != len(rows)):
        raise OutOfRange(f"grouped_linear: ends is {stops}; expected numbers that grow to the {len(rows)} rows")
    if capacity and max(stop - before for before, stop in zip([0, *stops], stops, strict=False)) > capacity:
        raise OutOfRange(f"grouped_linear: ends is {stops}; expected at most the capacity of {capacity} rows an expert")
    for expert, stop in enumerate(stops):
        if stop > start:
            result = rows[start:stop] @ matrix(expert).t()
            out[start:stop] = result if bias is None else result + bias[expert]
        start = stop
    out[start:] = 0


def gate_rows(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """x (t, n), score (t, 1) -> (t, n)."""
    outputs[0].copy_(inputs[0].float() * torch.sigmoid(inputs[1].float()))


def clamped_swiglu(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """gate (...), up (...) -> (...).

    Source: transformers, ``GptOssExperts``.
    """
    limit = attributes.number("limit")
    gate, up = inputs[0].float().clamp(max=limit), inputs[1].float().clamp(-limit, limit)
    outputs[0].copy_(gate * torch.sigmoid(attributes.number("slope") * gate) * (up + 1))


def expert_sum(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """rows (t*k, n), order int64 (t*k), weights fp32 (t, k) -> (t, n)."""
    rows, order, weights = inputs
    by_choice = torch.empty(rows.shape, dtype=torch.float32)
    by_choice[order] = rows.float()
    outputs[0].copy_((by_choice.view(*weights.shape, -1) * weights[..., None]).sum(1))
