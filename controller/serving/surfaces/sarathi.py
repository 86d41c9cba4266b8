"""Sarathi-Serve's engine on A100: iteration times by prompt tokens and by decode batch.

Model: a pass over prompts is read off the measured points by its tokens, linearly between them and with the last slope
    beyond; so is a decode step by its batch. In a mixed iteration all tokens go through the layers together, so that it
    takes the pass over all of its tokens, or the decode step where that is longer.
Source: Sarathi-Serve, OSDI 2024 (arXiv 2403.02310): Yi-34B on two GPUs from its artifact (figure-2/*.csv; the point of
    256 prompt tokens, a warm-up, is left out), Mistral-7B on one GPU from figure 4, read off.
Not modelled: attention over contexts other than those that were measured (1K at Mistral's decode steps).
"""

from __future__ import annotations

from typing import Final

from controller.serving.iteration_times import IterationLoad
from controller.serving.surfaces.line import on_points

Points = tuple[tuple[float, float], ...]

YI_34B_TP2: Final[tuple[Points, Points]] = (
    (
        (1, 46.8),
        (128, 48.1),
        (512, 105.6),
        (1024, 214.3),
        (2048, 366.0),
        (4096, 757.6),
        (8192, 1863.0),
        (16384, 4408.0),
    ),
    ((1, 46.8), (2, 47.5), (4, 48.8), (8, 69.7), (16, 77.3), (32, 87.9), (64, 127.8), (128, 189.3)),
)
MISTRAL_7B: Final[tuple[Points, Points]] = (
    ((1, 18.0), (128, 32.0), (256, 33.0), (512, 42.0), (1024, 76.0), (2048, 144.0)),
    ((1, 18.0), (8, 18.0), (16, 18.0), (32, 19.0), (64, 23.0)),
)
"""(prompt tokens, ms) and (decode batch, ms)."""


class SarathiSurface:
    """Implements `IterationTimes`."""

    def __init__(self, points: tuple[Points, Points]) -> None:
        self.prompt, self.decode = points

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of an iteration [s]."""
        decode_ms = on_points(self.decode, load.rows) if load.rows else 0.0
        if not load.chunks:
            return decode_ms * 1e-3
        return max(on_points(self.prompt, load.tokens), decode_ms) * 1e-3

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of steps that follow each other, which are all alike [s]."""
        return [on_points(self.decode, rows) * 1e-3] * count
