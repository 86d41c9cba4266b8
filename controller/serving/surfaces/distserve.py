"""DistServe's engine and vLLM on A100-SXM-80GB, as the constants that DistServe's own simulator runs on.

Model: prefill (a + b sum l + c sum l^2) / pp + pp, decode (a + b sum context + c batch) / pp [ms], so that l are prompt
    lengths; beside it 2 ms and 1e-4 ms a token for the call through Ray, on the first stage.
Source: LLMServe/DistServe, simdistserve: estimators/profile_data (constants, of batches below 95), its time estimators
    and `max_num_tokens.csv` (KV capacity).
Not modelled: the second regime of decode batches from 95 on, whose constants are not at hand: those below are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.serving.iteration_times import IterationLoad

RAY_S: Final = 2e-3
RAY_TOKEN_S: Final = 1e-7

Line = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class DistServeConstants:
    """One engine with one model over some GPUs.

    Attributes:
        prefill: a, b, c [ms].
        decode: a, b, c [ms].
        kv_tokens: that the KV cache holds; 0 where it is not printed.
    """

    prefill: Line
    decode: Line
    kv_tokens: int = 0


CONSTANTS: Final[Mapping[tuple[str, str, int], DistServeConstants]] = {
    ("distserve", "13b", 1): DistServeConstants((18.10, 0.10191, 7.12e-6), (19.93, 6.27e-4, 0.0385), 66_144),
    ("distserve", "13b", 2): DistServeConstants((14.74, 0.06858, 2.45e-6), (13.29, 3.41e-4, 0.0630), 163_008),
    ("distserve", "13b", 4): DistServeConstants((12.06, 0.03808, 5.2e-7), (10.26, 1.88e-4, 0.0327), 356_736),
    ("distserve", "66b", 2): DistServeConstants((43.06, 0.27423, 2.25e-5), (48.29, 9.42e-4, 0.1276), 11_600),
    ("distserve", "66b", 4): DistServeConstants((29.44, 0.15135, 8.32e-6), (30.76, 4.52e-4, 0.0633), 78_496),
    ("vllm", "13b", 1): DistServeConstants((22.05, 0.14051, 8.08e-6), (23.48, 5.93e-4, 0.0607), 66_144),
    ("vllm", "66b", 4): DistServeConstants((42.97, 0.21287, 4.60e-5), (39.58, 6.95e-4, 0.1358), 78_496),
}
"""By engine, model and tensor-parallel GPUs."""

KV_BYTES_PER_TOKEN: Final = {"13b": 819_200, "66b": 2_359_296}
"""Keys and values of a token in FP16: 2 x layers x hidden x 2 bytes (40 x 5120, 64 x 9216)."""


class DistServeSurface:
    """Times of iterations of one engine; implements `IterationTimes`.

    Attributes:
        constants: of the engine.
        pp: pipeline stages. Durations are those of a request through all of them.
    """

    def __init__(self, engine: str, model: str, tp: int, pp: int = 1) -> None:
        self.constants, self.pp = CONSTANTS[engine, model, tp], pp

    def iteration_s(self, load: IterationLoad) -> float:
        """Duration of an iteration; prompts and decodes in one are added up [s]."""
        total_ms = 0.0
        if load.chunks:
            a, b, c = self.constants.prefill
            tokens = sum(chunk for chunk, _ in load.chunks)
            # A chunk over earlier tokens does the part of the square that it adds.
            squares = sum((chunk + before) ** 2 - before**2 for chunk, before in load.chunks)
            total_ms += a + b * tokens + c * squares + self.pp * (self.pp - 1)
        if load.rows:
            a, b, c = self.constants.decode
            # What both need, the weights, is read once.
            total_ms += (0.0 if load.chunks else a) + b * load.context_tokens + c * load.rows
        return total_ms * 1e-3 + RAY_S + RAY_TOKEN_S * load.tokens

    def decode_steps_s(self, rows: int, context_tokens: int, count: int) -> list[float]:
        """Durations of steps that follow each other [s]."""
        first = self.iteration_s(IterationLoad(rows, context_tokens))
        slope = self.constants.decode[1] * rows * 1e-3
        return [first + slope * step for step in range(count)]
