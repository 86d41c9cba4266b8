"""Experts on several devices: slots, windows and messages in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.compute.experts import expert_sum
from node.errors import OutOfRange
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.operations.expert_parallel import SCALE_BYTES


def expert_slots(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """experts int64 (t, k) -> slots int64 (t, k).

    Raises:
        OutOfRange: an expert without a slot.
    """
    chosen = inputs[0]
    placement = torch.tensor(attributes.integers("placement"))
    experts = int(placement.max()) + 1
    if chosen.numel() and not 0 <= int(chosen.min()) <= int(chosen.max()) < experts:
        raise OutOfRange(
            f"expert_slots: experts go from {int(chosen.min())} to {int(chosen.max())}; expected 0 to {experts - 1}"
        )
    order = torch.argsort(placement, stable=True)  # slots by expert, the first copy first
    copies = torch.bincount(placement, minlength=experts)
    begins = copies.cumsum(0) - copies
    turn = torch.arange(len(chosen))[:, None] + attributes.integer("first")
    outputs[0].copy_(order[begins[chosen] + turn % copies[chosen]])


def expert_counts(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """slots int64 (t, k) -> counts int64 (e)."""
    outputs[0].copy_(torch.bincount(inputs[0].reshape(-1), minlength=attributes.integer("count")))


def expert_send(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (t, n), slots int64 (t, k) -> messages1 (r1, n), ..., messagesw (rw, n), order int64 (t*k).

    Raises:
        OutOfRange: other numbers of rows than the messages have.
    """
    x, slots = inputs
    *messages, order = outputs
    flat = slots.reshape(-1)
    counts = torch.bincount(flat // attributes.integer("per_rank"), minlength=len(messages)).tolist()
    if counts != [len(message) for message in messages]:
        raise OutOfRange(
            f"expert_send: {counts} rows go to the ranks, and the messages have {[len(each) for each in messages]}"
        )
    order.copy_(torch.argsort(flat, stable=True))
    rows = x[order // slots.shape[1]]
    for message, part in zip(messages, torch.split(rows, counts), strict=True):
        message.copy_(part)


def expert_receive(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """messages1 (r1, n), ..., messagesw (rw, n), counts int64 (w, s) -> rows (r, n), origin int64 (r), ends int64 (s).

    Raises:
        OutOfRange: counts that are not those of the messages.
    """
    *messages, counts = inputs
    if counts.sum(1).tolist() != [len(message) for message in messages]:
        raise OutOfRange(
            f"expert_receive: counts say {counts.sum(1).tolist()} rows of the sources, and "
            f"{[len(each) for each in messages]} came"
        )
    slot = torch.arange(counts.shape[1]).repeat(len(counts)).repeat_interleave(counts.flatten())
    order = torch.argsort(slot, stable=True)
    outputs[0].copy_(torch.cat(messages)[order])
    outputs[1].copy_(order)
    outputs[2].copy_(counts.sum(0).cumsum(0))


def expert_return(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """rows (r, n), origin int64 (r) -> back1 (r1, n), ..., backw (rw, n).

    Raises:
        OutOfRange: other numbers of rows than go back.
    """
    rows, origin = inputs
    sizes = [len(out) for out in outputs]
    if sum(sizes) != len(rows):
        raise OutOfRange(f"expert_return: {len(rows)} rows, and {sizes} go back")
    whole = torch.empty_like(rows)
    whole[origin] = rows
    for out, part in zip(outputs, torch.split(whole, sizes), strict=True):
        out.copy_(part)


def expert_combine(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """back1 (r1, n), ..., backw (rw, n), order int64 (t*k), weights fp32 (t, k) -> (t, n)."""
    *back, order, weights = inputs
    expert_sum((torch.cat(list(back)), order, weights), outputs, _)


def quantise_message(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (t, n) -> message int8 (t, n + tail)."""
    x, columns = inputs[0].float(), inputs[0].shape[1]
    scale = x.abs().amax(1, keepdim=True) / 127.0
    message = torch.zeros((len(x), columns + attributes.integer("tail")), dtype=torch.int8)
    message[:, :columns] = torch.where(scale > 0, x / scale, x).round().to(torch.int8)
    message[:, columns : columns + SCALE_BYTES] = scale.view(torch.int8)
    outputs[0].copy_(message)


def dequantise_message(inputs: Sequence[Tensor], outputs: Sequence[Tensor], _: CompleteAttributes) -> None:
    """message int8 (t, n + tail) -> x (t, n)."""
    message, columns = inputs[0], outputs[0].shape[1]
    scale = message[:, columns : columns + SCALE_BYTES].contiguous().view(torch.float32)
    outputs[0].copy_(message[:, :columns].float() * scale)
