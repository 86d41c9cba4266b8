"""Activations in 8 bits, and products with packed weights; the arithmetic is fp32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from node.compute.experts import grouped_products
from node.hardware.operations.attributes import CompleteAttributes
from node.hardware.packed import BLOCK, SCALE_BYTES, PackedFormat, parse_format, rounded_columns
from node.hardware.packing import unpack

_FP8_MOST = 448.0


def round_rows(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., k) -> bytes (..., k + scales); where all share one scale, it is found here and stands in each row."""
    x = inputs[0].float().reshape(-1, inputs[0].shape[-1])
    rows, columns = x.shape
    scales, fp8 = attributes.text("scales"), attributes.text("kind") == "fp8"
    size = BLOCK if scales == "block" else columns
    groups = -(-columns // size)
    padded = torch.zeros(rows, groups * size)
    padded[:, :columns] = x
    grouped = padded.view(rows, groups, size)
    largest = grouped.abs().amax(-1)
    if scales == "tensor":
        largest = largest.amax().expand_as(largest)
    scale = largest / (_FP8_MOST if fp8 else 127.0)
    divided = grouped / torch.where(scale > 0, scale, torch.ones_like(scale))[..., None]
    codes = divided.to(torch.float8_e4m3fn) if fp8 else divided.round().clamp(-127, 127).to(torch.int8)
    made = torch.cat(
        (codes.view(torch.uint8).reshape(rows, -1)[:, :columns], scale.contiguous().view(torch.uint8)), 1
    )  # fmt: skip
    outputs[0].copy_(made.view(outputs[0].shape))


def packed_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """x (..., k) or rounded bytes, w packed (n, bytes)[, bias (n)] -> (..., n)."""
    packed = parse_format(attributes.text("format"))
    x = _operand(inputs[0], packed, attributes)
    made = x @ _matrix(inputs[1], packed, x.shape[-1]).t()
    outputs[0].copy_((made + inputs[2].float() if len(inputs) == 3 else made).view(outputs[0].shape))


def packed_grouped_linear(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """rows (r, k) or rounded bytes, w packed (e, n, bytes), ends int64 (e)[, bias (e, n)] -> (r, n)."""
    packed = parse_format(attributes.text("format"))
    rows = _operand(inputs[0], packed, attributes)
    bias = inputs[3].float() if len(inputs) == 4 else None
    grouped_products(
        rows, lambda expert: _matrix(inputs[1][expert], packed, rows.shape[-1]), inputs[2], bias, outputs[0],
        attributes.integer("capacity"),
    )  # fmt: skip


def _operand(x: Tensor, packed: PackedFormat, attributes: CompleteAttributes) -> Tensor:
    """The other operand in fp32, (rows, k)."""
    if x.dtype != torch.uint8:
        return x.float().reshape(-1, x.shape[-1])
    rows = x.reshape(-1, x.shape[-1])
    block = attributes.text("scales") == "block"
    columns = rounded_columns(rows.shape[1], block)
    kind = torch.float8_e4m3fn if packed.kind == "fp8" else torch.int8
    codes = rows[:, :columns].contiguous().view(kind).float()
    scale = rows[:, columns:].contiguous().view(torch.float32)
    assert scale.shape[1] * SCALE_BYTES == rows.shape[1] - columns
    return codes * scale.repeat_interleave(BLOCK if block else columns, 1)[:, :columns]


def _matrix(stored: Tensor, packed: PackedFormat, columns: int) -> Tensor:
    return torch.from_numpy(unpack(stored.numpy(), packed, columns))
