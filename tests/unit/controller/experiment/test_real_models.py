"""Virtual runs of configurations as they are published: they fit where they fit, and say what is not modelled."""

import json
from pathlib import Path

import pytest

from controller.cli.main import main

MODELS = Path(__file__).parents[3] / "fixtures" / "models"


def run(name: str, capsys, *arguments: str, strategy: str = "gpu_only") -> dict:
    words = ["run", strategy, "--model", str(MODELS / f"{name}.json"), "--batch", "1", "--prompt-tokens", "64",
             "--output-tokens", "2", "--json", *arguments]  # fmt: skip
    assert main(words) == 0
    return json.loads(capsys.readouterr().out)


ONE_H200 = ("--topology", "dgx_h200", "--set", "gpu.count=1")


def test_a_70b_in_8_bits_fits_one_h200(capsys):
    document = run("llama-3.1-70b-fp8", capsys, *ONE_H200)
    assert document["outcome"] == "ok"
    assert "counted in their bytes" in json.dumps(document)
    # A decoded token reads all weights but the embedding: 71.6 GB at 4.8 TB/s, and not 139.
    assert 0.014 < document["phases"]["decode"] < 0.025


@pytest.mark.parametrize("name", ["qwen3-0.6b", "gemma-2-2b", "llama-3.2-1b", "gpt2-xl"])
def test_families_run(name, capsys):
    assert run(name, capsys, *ONE_H200)["outcome"] == "ok"


def test_runs_with_values_refuse_what_they_cannot_compute(capsys):
    words = ["run", "gpu_only", "--model", str(MODELS / "llama-3.1-8b.json"), "--local"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "cannot run with values: rope_scaling of type llama3" in said and "remove --local" in said
