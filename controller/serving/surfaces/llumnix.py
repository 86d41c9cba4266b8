"""LLaMA-7B on an A10 under vLLM, as Llumnix measured it: decode steps by tokens and lengths, prompts by their tokens.

Model: a decode step is read between the printed curves (figure 4; lengths 64, 256 and 1024), linearly in the tokens of
    the batch and in the logarithm of the mean length; a prompt is read off the recomputation curve (figure 10),
    linearly.
Source: Llumnix, OSDI 2024 (arXiv 2406.03243), figures 4 and 10, read off the figures.
Not modelled: lengths beyond 1024 are taken as 1024; a batch beyond 8K tokens goes on with the last slope.
"""

from __future__ import annotations

from math import log2
from typing import Final

from controller.serving.iteration_times import IterationLoad
from controller.serving.surfaces.line import on_points

STEP_MS: Final = {
    64: ((64, 33.1), (128, 34.8), (256, 35.3), (512, 36.5), (1024, 39.6), (2048, 45.4), (4096, 60.3), (8192, 84.3)),
    256: ((256, 33.3), (512, 34.7), (1024, 35.8), (2048, 37.9), (4096, 45.5), (8192, 53.5)),
    1024: ((1024, 34.3), (2048, 36.8), (4096, 39.5), (8192, 45.7)),
}
"""Length to (tokens of the batch, ms)."""
PROMPT_MS: Final = ((0, 0.0), (256, 58.0), (512, 110.0), (1024, 220.0), (2048, 436.0), (4096, 940.0), (8192, 1995.0))
"""(tokens, ms) of a prompt that is recomputed."""
LEAST_PROMPT_MS: Final = 33.1
"""A pass over few tokens reads the weights as a decode step does."""
KV_TOKENS: Final = 13_616
COPY_S_PER_TOKEN: Final = 2.0e-4
"""Blocking copy GPU -> CPU -> network, about 0.2 ms a token (figure 10: 1682 ms for 8K)."""


class LlumnixSurface:
    """Implements `IterationTimes`."""

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of an iteration [s]."""
        total_ms = 0.0
        if load.chunks:
            total_ms += max(LEAST_PROMPT_MS, on_points(PROMPT_MS, sum(tokens for tokens, _ in load.chunks)))
        if load.rows:
            total_ms += step_ms(load.rows, load.context_tokens)
        return total_ms * 1e-3

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of steps that follow each other [s]; the step in the middle stands for all of up to 16."""
        found: list[float] = []
        while len(found) < count:
            steps = min(16, count - len(found))
            middle = context_tokens + rows * (len(found) + steps // 2)
            found += [step_ms(rows, middle) * 1e-3] * steps
        return found


def step_ms(rows: int, tokens: int) -> float:
    """A decode step of `rows` requests with `tokens` cached tokens together [ms]."""
    length = min(1024.0, max(64.0, tokens / rows))
    low, high = (64, 256) if length < 256 else (256, 1024)
    share = log2(length / low) / log2(high / low)
    return on_points(STEP_MS[low], tokens) * (1 - share) + on_points(STEP_MS[high], tokens) * share
