"""A decoder whose generated tokens attend by SparF, token by token as its algorithm 1 has it: slow and obvious.

Source: InstAttention, HPCA 2025, doi 10.1109/HPCA61900.2025.00113, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from controller.models.plain import PlainDecoder
from controller.models.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor


class PlainSparf(PlainDecoder):
    """`PlainDecoder` whose tokens from `prompt_tokens` on choose what they attend to."""

    made_by = "plain torch, SparF written out"

    def __init__(self, weights: Weights, prompt_tokens: int, compression: float, recent: int) -> None:
        super().__init__(weights)
        self._prompt_tokens, self._compression, self._recent = prompt_tokens, compression, recent

    def mix(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The prompt attends densely, new tokens sparsely."""
        out = super().mix(layer, q, k, v)
        for row in range(q.shape[0]):
            for token in range(self._prompt_tokens, q.shape[1]):
                for head in range(q.shape[2]):
                    past = slice(0, token + 1)
                    out[row, token, head] = self._attend(q[row, token, head], k[row, past, head], v[row, past, head])
        return out

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """One query (d) over keys and values (n, d)."""
        tokens, dim = k.shape
        scale = self.shape.attention_scale
        channels = q.abs().topk(max(1, round(self._compression * dim))).indices
        seen = q[channels].abs().sum() / q.abs().sum()
        guess = (scale / seen.sqrt() * (k[:, channels] @ q[channels])).softmax(0)
        ranked = guess.clone()
        recent = min(self._recent, tokens)
        ranked[tokens - recent :] += 2.0
        kept = ranked.topk(min(tokens, max(1, self._recent, round(self._compression * tokens)))).indices
        alpha = guess[kept].sum()
        attended = (scale * (k[kept] @ q)).softmax(0) @ v[kept]
        return alpha * attended + (1 - alpha) * v.mean(0)


def reference(weights: Weights, prompt_tokens: int, options: Mapping[str, str]) -> PlainDecoder | None:
    """What a live run with the strategy's `options` is compared with; None without SparF's option `compression`."""
    if "compression" not in options:
        return None
    return PlainSparf(weights, prompt_tokens, float(options["compression"]), int(options.get("recent", "0")))
