"""Tokens that are routed over node processes and back are those of a plain forward pass."""

from __future__ import annotations

import pytest

from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("tiny-deepseek", {}),
        ("tiny-deepseek", {"placement": "7|0|6|1|5|2|4|3", "messages": "int8"}),
    ],
)
def test_eight_processes_generate_what_one_does(model: str, options: dict[str, str]) -> None:
    spec = RunSpec(
        "expert_parallel", model, batch=8, prompt_tokens=6, output_tokens=3, live=True,
        options={"devices": "8", **options},
    )  # fmt: skip
    found = run_experiment(spec)
    assert found.comparison is not None
    if "messages" in options:
        assert found.comparison["rounded"] == "tokens sent in int8" and found.comparison["values_equal"]
        assert 0 < found.comparison["logit_error_ratio"] <= found.comparison["logit_error_tolerance"] < 0.13
    else:
        assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"]
        assert found.comparison["max_logit_difference"] < 1e-4
