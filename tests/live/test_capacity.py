"""Processes drop what finds no room at an expert, and count it."""

from __future__ import annotations

import pytest

from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

pytestmark = pytest.mark.live


def test_processes_drop_what_the_plain_run_drops() -> None:
    spec = RunSpec(
        "gpu_only", "tiny-mixtral", "a6000_ssd", ("gpu.count=2",), batch=2, prompt_tokens=6, output_tokens=4, live=True,
        expert_capacity="0.8",
    )  # fmt: skip
    found = run_experiment(spec)
    assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"] == 8
    assert found.comparison["max_logit_difference"] < 1e-3
    dropped = found.to_json()["reports"]["dropped_choices"]
    # 12 tokens of the prompt have room for 5 choices an expert, 2 new ones for one each: 4 of 24 and none of 4 are
    # dropped where they fall evenly, more where they do not; in two layers.
    assert 2 * 4 <= dropped < 72
