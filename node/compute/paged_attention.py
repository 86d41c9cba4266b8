"""Attention of many requests over a KV cache in pages, request by request, in fp32 inside.

No request sees another: what it gets does not depend on who else is in the launch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from node.errors import OutOfRange
from node.hardware.operations.attributes import CompleteAttributes


def paged_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """q (t, h*d), pool (p, l, 2, g, n, d), table int64 (r, m) -> (t, h*d)."""
    q, pool, table = inputs
    window, scale = attributes.integer("window"), attributes.number("scale")
    layer = pool[:, attributes.integer("layer")]
    _, _, groups, size, dim = layer.shape
    for pages, first, own, held in _requests("paged_attention", table, len(pool), size, attributes):
        # (2, g, tokens, d): the pages of the request in order, of which the last is full in part.
        cached = layer[pages].permute(1, 2, 0, 3, 4).reshape(2, groups, -1, dim)[:, :, :held].float()
        # (g, h/g x rows, d): the heads that share a KV head are the rows of one matrix.
        query = q[first : first + own].view(own, groups, -1, dim).permute(1, 2, 0, 3).float() * scale
        scores = torch.matmul(query.flatten(1, 2), cached[0].transpose(1, 2)).view(*query.shape[:3], held)
        at = torch.arange(held - own, held)[:, None]
        index = torch.arange(held)[None, :]
        hidden = index > at
        if window:
            hidden |= index <= at - window
        weights = torch.softmax(scores.masked_fill_(hidden, -torch.inf), -1)
        result = torch.matmul(weights.flatten(1, 2), cached[1]).view(query.shape)
        outputs[0][first : first + own].copy_(result.permute(2, 0, 1, 3).reshape(own, -1))


def paged_write(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """k (t, g*d), v (t, g*d), table int64 (r, m) -> pool (p, l, 2, g, n, d), of which only those tokens change."""
    pool = outputs[0]
    layer = pool[:, attributes.integer("layer")]
    _, _, groups, size, dim = layer.shape
    for pages, first, own, held in _requests("paged_write", inputs[2], len(pool), size, attributes):
        at = torch.arange(held - own, held)
        page, slot = pages[at // size], at % size
        for part, source in enumerate(inputs[:2]):
            layer[page, part, :, slot] = source[first : first + own].view(own, groups, dim)


def _requests(
    name: str, table: Tensor, pages: int, size: int, attributes: CompleteAttributes
) -> Iterator[tuple[Tensor, int, int, int]]:
    """Of every request its pages, its first row, its rows and its tokens."""
    first = 0
    for line, own, held in zip(table, attributes.integers("rows"), attributes.integers("tokens"), strict=True):
        used = line[: -(-held // size)]
        if int(used.min()) < 0 or int(used.max()) >= pages:
            raise OutOfRange(
                f"{name}: the table names pages {int(used.min())} to {int(used.max())}; expected 0 to {pages - 1}"
            )
        yield used, first, own, held
        first += own
