"""Experts in plain torch, one token and one expert at a time: the slow and obvious twin of grouped products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from controller.models.expert_shape import ExpertShape

if TYPE_CHECKING:
    from torch import Tensor

    Weight = Callable[[str], Tensor]


def chosen_experts(experts: ExpertShape, logits: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights and numbers (t, k) of the experts of every token, from the logits (t, e) of its gate.

    Source: Jiang et al., Mixtral, arXiv 2401.04088, section 2.1; DeepSeek-V2, arXiv 2405.04434, section 2.2;
    DeepSeek-V3, arXiv 2412.19437, section 2.1.2; ``GptOssTopKRouter`` of transformers.
    """
    import torch

    if experts.score == "chosen_softmax":
        best = logits.topk(experts.chosen, -1)
        return best.values.softmax(-1) * experts.scale, best.indices
    scores = logits.sigmoid() if experts.score == "sigmoid" else logits.softmax(-1)
    wanted = scores if bias is None else scores + bias
    if experts.kept_groups < experts.groups:
        by_group = wanted.view(len(logits), experts.groups, -1)
        kept = by_group.topk(experts.group_top, -1).values.sum(-1).topk(experts.kept_groups, -1).indices
        seen = torch.zeros(len(logits), experts.groups, dtype=torch.bool)
        seen[torch.arange(len(logits))[:, None], kept] = True
        wanted = torch.where(seen[..., None], by_group, -torch.inf).flatten(1)
    numbers = wanted.topk(experts.chosen, -1).indices
    weights = scores.gather(-1, numbers)
    if experts.normalise:
        weights = weights / weights.sum(-1, keepdim=True)
    return weights * experts.scale, numbers


def passes(rows: int, tokens: int, prompt_tokens: int, prompt_rows: int) -> list[list[int]]:
    """Tokens of a text (rows, tokens), numbered row by row, by the pass that they are computed in.

    Args:
        rows, tokens: of the text so far.
        prompt_tokens: of each row that one pass takes together.
        prompt_rows: rows that such a pass takes; every later token is in a pass with those of all rows.
    """
    first = min(prompt_tokens, tokens)
    made = [
        [row * tokens + token for row in range(start, min(start + prompt_rows, rows)) for token in range(first)]
        for start in range(0, rows, prompt_rows)
    ]
    return made + [[row * tokens + token for row in range(rows)] for token in range(first, tokens)]


def without_overflow(
    experts: ExpertShape, chosen: tuple[Tensor, Tensor], groups: list[list[int]]
) -> tuple[Tensor, Tensor]:
    """Weights and numbers (t, k) of experts, the weight 0 where an expert is full; the other weights stay.

    Args:
        experts: of the layer.
        chosen: weights and numbers of the experts of each token.
        groups: tokens of every pass, in the order in which they find room.
    """
    weights, numbers = chosen[0].clone(), chosen[1]
    for tokens in groups:
        room = [experts.capacity(len(tokens))] * experts.count
        for token in tokens:
            for place, expert in enumerate(numbers[token].tolist()):
                if room[expert]:
                    room[expert] -= 1
                else:
                    weights[token, place] = 0.0
    return weights, numbers


def gated_by_expert(
    experts: ExpertShape, activate: Callable[[Tensor], Tensor], weight: Weight, x: Tensor, chosen: tuple[Tensor, Tensor]
) -> Tensor:
    """x (t, n) through the chosen experts of every token, one token and one expert at a time.

    Args:
        experts: of the layer.
        activate: of gates, where they are not clamped.
        weight: of the layer, by name.
        x: tokens.
        chosen: weights and numbers of the experts of each token.
    """
    import torch

    def project(name: str, expert: int, row: Tensor) -> Tensor:
        made = weight(f"{name}.weight")[expert] @ row
        return made + weight(f"{name}.bias")[expert] if experts.bias else made

    out = torch.zeros_like(x)
    for token, row in enumerate(x):
        for share, expert in zip(chosen[0][token], chosen[1][token].tolist(), strict=True):
            gate, up = project("expert_gate", expert, row), project("expert_up", expert, row)
            if experts.clamped:
                gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
                inner = gate * (1.702 * gate).sigmoid() * (up + 1)
            else:
                inner = activate(gate) * up
            out[token] += share * project("expert_down", expert, inner)
    return out
