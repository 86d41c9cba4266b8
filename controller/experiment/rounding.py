"""Runs that round activations or caches to 8 bits: how far their logits may be from those of the reference.

Weights in few bits have a reference with the same weights, and tokens must be equal. What is rounded on the way is
rounded a little differently where sums were added in another order, so that tokens may differ without anything being
wrong. What is held to then is the error of the logits for as long as the texts are the same: the root of the mean
square of the difference over that of the logits. `GAIN` is how much a stack of layers may make of one rounding; logits
that have nothing to do with each other would give 1.41.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from controller.models.scenario import Scenario

UNIT_ROUNDING: Final = {"fp32": 2.0**-24, "bf16": 2.0**-8, "fp16": 2.0**-11, "fp8": 2.0**-4, "int8": 2.0**-5}
"""Largest error of an element over its size (fp8: e4m3); of an int8 cache, over a key of size 1 to 4."""
ACTIVATIONS: Final = {"fp8": 2.0**-4, "int": 2.0**-7}
"""The same of activations, by the kind of the weights beside them."""
GAIN: Final = 30.0
"""Chosen: three times what models of a few layers from a seed showed (5 to 10), whose attention is sharp."""
MOST: Final = 0.7
"""Largest tolerance: half of what unrelated logits give."""
SUMS: Final = 2.0**-18
"""Largest relative difference of fp32 sums in another order: 64 roundings of 2**-24."""
PASSES: Final = 1.5
"""Chosen: margin over what rounding a whole cache does, for programs whose prompt or newest token is not rounded."""


def cache_tolerance(kv_dtype: str, whole: float) -> float:
    """Most error of the logits against a reference that rounds its cache too.

    Sums in another order move an element over the edge of a rounding in `SUMS` / unit of all cases, by two units, so
    that the root of the mean square is 2 sqrt(unit x `SUMS`), which `GAIN` makes larger. A program that keeps its
    newest token or its prompt as they are until they are read back rounds a part of what the reference rounds: it is
    no further away than no rounding at all.

    Args:
        kv_dtype: type of the cache.
        whole: error of the logits of that reference against those without any rounding.
    """
    return min(MOST, GAIN * 2.0 * math.sqrt(UNIT_ROUNDING[kv_dtype] * SUMS) + PASSES * whole)


def rounding(scenario: Scenario, by_program: Mapping[str, float]) -> tuple[str, float]:
    """What is rounded on the way, for people, and its unit rounding; "" and 0 where nothing is."""
    said, unit, quantization = list(by_program), max(by_program.values(), default=0.0), scenario.shape.quantization
    if quantization is not None and quantization.activations:
        said.append(f"activations in 8 bits by {quantization.activations}")
        unit = max(unit, ACTIVATIONS[quantization.kind])
    if scenario.kv_dtype != scenario.dtype:
        said.append(f"KV cache in {scenario.kv_dtype}")
        unit = max(unit, UNIT_ROUNDING[scenario.kv_dtype])
    return ", ".join(said), unit


def judge_rounding(
    scenario: Scenario, found: dict[str, Any], by_program: Mapping[str, float], cache: float | None = None
) -> dict[str, Any]:
    """What a comparison says of a run that rounds on its way; empty for one that does not.

    Args:
        scenario: what was run.
        found: of `compare_generation`.
        by_program: what the program itself rounds, as `GenerationResult.rounded`.
        cache: tolerance where the cache is all that is rounded and the reference rounds its own; None elsewhere.
    """
    said, unit = rounding(scenario, by_program)
    if not said:
        return {}
    tolerance = min(MOST, GAIN * unit) if cache is None else cache
    return {
        "rounded": said,
        "logit_error_tolerance": tolerance,
        "values_equal": found["logit_error_ratio"] <= tolerance,
    }
