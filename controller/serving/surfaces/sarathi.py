"""Sarathi-Serve's engine on A100: iteration times by prompt tokens and by decode batch.

Model: a pass over prompts is read off the measured points by its tokens, linearly between them and with the last slope
    beyond; so is a decode step by its batch. In a mixed iteration all tokens go through the layers together, so that it
    takes the pass over all of its tokens, or the decode step where that is longer. Contexts beyond `MEASURED_CONTEXT`
    add the read of their keys and values, and chunks attention over what came before them, at the rates that
    DistServe's constants imply for the same GPU (1.31 TB/s and 255 TFLOP/s, 64 % and 82 % of the datasheet).
Source: Sarathi-Serve, OSDI 2024 (arXiv 2403.02310): Yi-34B on two GPUs from its artifact (figure-2/*.csv; the point of
    256 prompt tokens, a warm-up, is left out), Mistral-7B on one GPU from figure 4, read off.
Not modelled: what the engine pays a request beside its tokens. The context of Yi-34B's decode steps is not printed and
    taken as Mistral's.
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


MEASURED_CONTEXT: Final = 1024
"""Tokens of the contexts that decode steps were measured with."""
READ_BYTES_PER_S: Final = 1.31e12
ATTENTION_FLOP_PER_S: Final = 255e12


class SarathiSurface:
    """Implements `IterationTimes`.

    Attributes:
        prompt, decode: measured points.
        read_s: of a cached token on one GPU [s].
        pair_s: of a pair of query and earlier key on one GPU [s].
    """

    def __init__(self, points: tuple[Points, Points], layers: int, heads: int, kv_heads: int, gpus: int) -> None:
        """Heads of 128 in 16 bits."""
        self.prompt, self.decode = points
        self.read_s = 2 * layers * kv_heads * 128 * 2 / gpus / READ_BYTES_PER_S
        self.pair_s = 4 * layers * heads * 128 / gpus / ATTENTION_FLOP_PER_S

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of an iteration [s]."""
        beyond_s = max(0, load.context_tokens - MEASURED_CONTEXT * load.rows) * self.read_s
        decode_s = on_points(self.decode, load.rows) * 1e-3 + beyond_s if load.rows else 0.0
        if not load.chunks:
            return decode_s
        earlier_s = sum(tokens * before for tokens, before in load.chunks) * self.pair_s
        reads_s = load.context_tokens * self.read_s
        return max(on_points(self.prompt, load.tokens) * 1e-3 + earlier_s + reads_s, decode_s)

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of steps that follow each other [s]."""
        return [self.iteration_s(IterationLoad(rows, context_tokens + step * rows)) for step in range(count)]


def mistral_7b() -> SarathiSurface:
    """Mistral-7B on one GPU."""
    return SarathiSurface(MISTRAL_7B, 32, 32, 8, 1)


def yi_34b() -> SarathiSurface:
    """Yi-34B on two GPUs."""
    return SarathiSurface(YI_34B_TP2, 60, 56, 8, 2)
