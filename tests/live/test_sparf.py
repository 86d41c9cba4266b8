"""SparF attention in drives on node processes: tokens of the algorithm written out, and the pages that it touched."""

from __future__ import annotations

import pytest

from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

pytestmark = pytest.mark.live


def test_tokens_are_those_of_the_algorithm() -> None:
    request = RunSpec(
        "instinfer", "tiny-opt", topology="a6000_2csd", batch=3, prompt_tokens=21, output_tokens=20, live=True,
        options={"compression": "0.25", "recent": "2"},
    )  # fmt: skip
    found = run_experiment(request)
    assert "SparF" in found.comparison["reference"]
    assert found.comparison["tokens_equal"] == found.comparison["tokens_compared"] == 60
    assert found.comparison["max_logit_difference"] < 1e-3
    assert 0.0 < found.outcome.figures["page_ratio_measured"] <= 1.5
    assert found.outcome.figures["page_ratio_declared"] > 0.5
