"""How long an iteration takes, as a question: what the loop asks, whoever answers.

Answers come from plans on declared devices (`device_times`), or from a published table of measured constants
(`surfaces/`). The loop knows neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class IterationLoad:
    """What an iteration computes.

    Attributes:
        rows: requests that decode, padding included.
        context_tokens: cached tokens that they attend to, over all, the new ones included.
        chunks: tokens of every prompt chunk, and cached tokens before it.
        ended_prompts: chunks that end a prompt, so that a token comes of them.
        swapped_blocks: KV blocks that move between device and host before it, out and in.
        copies: of how many pieces those are.
        padding_tokens: prompt tokens that are computed for nobody.
        side_by_side: nano-batches share the devices.
    """

    rows: int = 0
    context_tokens: int = 0
    chunks: tuple[tuple[int, int], ...] = ()
    ended_prompts: int = 0
    swapped_blocks: int = 0
    copies: int = 0
    side_by_side: bool = False
    padding_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that the layers compute."""
        return self.rows + self.padding_tokens + sum(tokens for tokens, _ in self.chunks)


class IterationTimes(Protocol):
    """Durations of iterations of one instance."""

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of one iteration, the host's work between two included [s]."""

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of `count` steps of decoding that follow each other, or of the first of them [s].

        Args:
            rows: requests.
            context_tokens: of the first step, as in `IterationLoad`; every step adds one a row.
            count: steps; after fewer the loop asks again.
        """
