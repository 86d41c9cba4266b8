"""Runs whose weights or caches are rounded: how far their logits may be from those of fp32.

Their tokens may differ from the plain run's without anything being wrong, since a rounded logit chooses another token
and the texts part ways. What is held to is the error of the logits for as long as the texts are the same: the root of
the mean square of the difference over that of the logits. `GAIN` is how much a layer stack may make of one rounding;
logits that have nothing to do with each other would give 1.41.
"""

from __future__ import annotations

from typing import Any, Final

from controller.models.scenario import Scenario

UNIT_ROUNDING: Final = {"fp32": 2.0**-24, "bf16": 2.0**-8, "fp16": 2.0**-11, "fp8": 2.0**-4, "int8": 2.0**-5}
"""Largest error of an element over its size (fp8: e4m3); of int8, over a key of size 1 to 4."""
GAIN: Final = 30.0
"""Chosen: three times what models of a few layers from a seed showed (5 to 10), whose attention is sharp."""
MOST: Final = 0.7
"""Largest tolerance: half of what unrelated logits give."""


def rounding(scenario: Scenario) -> tuple[str, float]:
    """What is rounded beyond the arithmetic, for people, and its unit rounding; "" and 0 where nothing is."""
    said, unit = [], 0.0
    if scenario.kv_dtype != scenario.dtype:
        said.append(f"KV cache in {scenario.kv_dtype}")
        unit = max(unit, UNIT_ROUNDING[scenario.kv_dtype])
    return ", ".join(said), unit


def judge_rounding(scenario: Scenario, found: dict[str, Any]) -> dict[str, Any]:
    """What a comparison with fp32 says of a run that rounds; empty for one that does not."""
    said, unit = rounding(scenario)
    if not said:
        return {}
    tolerance = min(MOST, GAIN * unit)
    return {
        "rounded": said,
        "logit_error_tolerance": tolerance,
        "values_equal": found["logit_error_ratio"] <= tolerance,
    }
