"""Requests answered on node processes, batched as they come."""

from __future__ import annotations

import json

import pytest

from controller.cli.main import main
from controller.experiment.serving_live import serve_live
from controller.experiment.serving_spec import ServeSpec

pytestmark = pytest.mark.live


def test_answers_of_nodes_are_those_of_a_plain_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "serve", "--live", "--model", "tiny-opt", "--topology", "a10_4", "--instances", "2", "--cluster", "llumnix",
        "--cluster-option", "out=300", "--cluster-option", "into=1", "--cluster-option", "period=0.002",
        "--scheduler", "sarathi", "--max-num-batched-tokens", "16", "--requests", "poisson:300/s", "--lengths",
        "in=20,out=8", "--num-prompts", "5", "--kv-tokens", "320", "--json", "--save-detailed",
    ]  # fmt: skip
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["completed"] == 5 and made["cluster"]["migrations"] > 0
    assert made["values"]["tokens_equal"] == made["values"]["tokens_compared"] == 40
    assert [len(answer) for answer in made["values"]["answers"]] == [8] * 5


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gemma_answers_in_chunks_and_after_preemptions() -> None:
    spec = ServeSpec(
        "gemma-3-270m", "a6000_ssd", "sarathi", "inf", "in=40,out=12", 4, kv_tokens=160,
        limits={"max_requests": 4, "budget_tokens": 24},
    )  # fmt: skip
    found, checked = serve_live(spec)
    assert sum(each.progress.preemptions for each in found.instances) > 0
    assert checked.tokens_equal == checked.tokens_compared == 48
