"""SparF attention as its algorithm 1 has it, in fp32 inside, and what it keeps up to date."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
from torch import Tensor

from node.hardware.operations.attributes import CompleteAttributes


def sparf_attention(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """q, mean, counts[, c1, k1, v1, ...], k_tail, v_tail -> out (b, h, d), counts (2)."""
    q, mean, counts = inputs[:3]
    batch, heads, dim = q.shape
    groups = mean.shape[1]
    tokens = attributes.integers("tokens")
    out, new_counts = outputs
    segments = len(tokens) - 1
    shape = (batch, groups, heads // groups, dim)
    query = q.view(shape).float()
    total = sum(tokens)
    if not total:
        out.view(shape).copy_(mean[:, :, None].expand(shape))
        new_counts.copy_(counts)
        return
    # Step 1: the largest channels of |q|, each query head for itself.
    channels = attributes.integer("channels")
    chosen = torch.topk(query.abs(), channels, -1).indices
    part = torch.gather(query, -1, chosen)
    # Step 2 and 3: approximate scores from these channels alone.
    scores = torch.cat(
        [
            *(_channel_scores(inputs[3 + 3 * index], count, chosen, part) for index, count in enumerate(tokens[:-1])),
            _tail_scores(inputs[-2], tokens[-1], chosen, part),
        ],
        -1,
    )
    weight = part.abs().sum(-1) / query.abs().sum(-1).clamp_min(torch.finfo(torch.float32).tiny)
    scale = attributes.number("scale")
    guess = torch.softmax(scores * (scale / weight.clamp_min(torch.finfo(torch.float32).tiny).sqrt())[..., None], -1)
    # Step 4: the most likely tokens, and the last ones whatever they score.
    recent = min(attributes.integer("recent"), total)
    ranked = guess.clone()
    if recent:
        ranked[..., total - recent :] += 2.0
    kept = torch.topk(ranked, min(attributes.integer("keep"), total), -1).indices
    share = torch.gather(guess, -1, kept).sum(-1, keepdim=True)
    # Step 5 and 6: exact attention over these, and the mean of v for the rest.
    keys = torch.cat([*(inputs[4 + 3 * i][:, :, : tokens[i]] for i in range(segments)), _tail(inputs[-2], tokens)], 2)
    values = torch.cat([*(inputs[5 + 3 * i][:, :, : tokens[i]] for i in range(segments)), _tail(inputs[-1], tokens)], 2)
    exact = torch.einsum("bgqkd,bgqd->bgqk", _rows(keys, kept), query) * scale
    attended = torch.einsum("bgqk,bgqkd->bgqd", torch.softmax(exact, -1), _rows(values, kept))
    out.view(shape).copy_(share * attended + (1.0 - share) * mean[:, :, None])
    new_counts.copy_(counts + _pages(chosen, kept, tokens, dim, attributes))


def _channel_scores(channel_keys: Tensor, count: int, chosen: Tensor, part: Tensor) -> Tensor:
    """(b, g, d, T), of which `count` tokens, with (b, g, q, r) channels -> (b, g, q, count)."""
    rows = channel_keys[..., :count].float()
    batch, groups, per_group, channels = chosen.shape
    index = chosen.reshape(batch, groups, per_group * channels, 1).expand(-1, -1, -1, count)
    picked = torch.gather(rows, 2, index).view(batch, groups, per_group, channels, count)
    return torch.einsum("bgqrt,bgqr->bgqt", picked, part)


def _tail_scores(tail: Tensor, count: int, chosen: Tensor, part: Tensor) -> Tensor:
    return _channel_scores(tail.transpose(2, 3), count, chosen, part)


def _tail(tail: Tensor, tokens: Sequence[int]) -> Tensor:
    return tail[:, :, : tokens[-1]]


def _rows(whole: Tensor, kept: Tensor) -> Tensor:
    """(b, g, T, d) with (b, g, q, k) tokens -> (b, g, q, k, d) in fp32."""
    batch, groups, per_group, count = kept.shape
    dim = whole.shape[-1]
    index = kept.reshape(batch, groups, per_group * count, 1).expand(-1, -1, -1, dim)
    return torch.gather(whole, 2, index).view(batch, groups, per_group, count, dim).float()


def _pages(chosen: Tensor, kept: Tensor, tokens: Sequence[int], dim: int, attributes: CompleteAttributes) -> Tensor:
    """Pages touched in the segments, and pages that dense attention would read there.

    A token-indexed page holds `group_tokens` tokens of one head, a channel-indexed one `page_channels` channels of as
    many tokens as fill it. Query heads of one group share the pages that they touch.
    """
    group_tokens, page_channels = attributes.integer("group_tokens"), attributes.integer("page_channels")
    page_elements = group_tokens * dim
    batch, groups = chosen.shape[:2]
    channel_hit = torch.zeros((batch, groups, ceil(dim / page_channels)), dtype=torch.bool)
    channel_hit.scatter_(2, (chosen // page_channels).flatten(2), True)
    touched = held = 0.0
    begin = 0
    for count in tokens[:-1]:
        token_pages = ceil(count / group_tokens)
        inside = (kept >= begin) & (kept < begin + count)
        page = torch.where(inside, (kept - begin) // group_tokens, token_pages)
        hit = torch.zeros((batch, groups, token_pages + 1), dtype=torch.bool)
        hit.scatter_(2, page.flatten(2), True)
        channel_blocks = ceil(count * page_channels / page_elements)
        touched += 2 * float(hit[..., :token_pages].sum()) + channel_blocks * float(channel_hit.sum())
        held += 2 * token_pages * batch * groups
        begin += count
    return torch.tensor([touched, held], dtype=torch.float32)


def running_mean(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """mean (b, g, d), x (b, g, t, d) -> mean."""
    count, tokens = attributes.integer("count"), attributes.integer("tokens")
    added = inputs[1][:, :, :tokens].float().sum(2)
    before = inputs[0] * count if count else 0.0  # the mean of no token may be anything
    outputs[0].copy_((before + added) / (count + tokens))


def channel_write(inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: CompleteAttributes) -> None:
    """source (b, g, t, d) -> cache (b, g, d, T), of which only the written tokens change."""
    tokens, position = attributes.integer("tokens"), attributes.integer("position")
    outputs[0].narrow(3, position, tokens).copy_(inputs[0].narrow(2, 0, tokens).transpose(2, 3))
