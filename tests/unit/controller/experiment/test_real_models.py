"""Virtual runs of configurations as they are published: they fit where they fit, and say what is not modelled."""

import json
from pathlib import Path

import pytest

from controller.cli.main import main
from controller.strategies.entry import TRAINING
from controller.strategies.table import STRATEGIES

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
    assert "quantise activations" in json.dumps(document)
    # A decoded token reads all weights but the embedding: 71.6 GB at 4.8 TB/s, and not 139.
    assert 0.014 < document["phases"]["decode"] < 0.025


@pytest.mark.parametrize("name", ["qwen3-0.6b", "gemma-2-2b", "llama-3.2-1b", "gpt2-xl"])
def test_families_run(name, capsys):
    assert run(name, capsys, *ONE_H200)["outcome"] == "ok"


def test_what_is_not_modelled_is_said_below_the_result(capsys):
    words = ["run", "gpu_only", "--model", str(MODELS / "gemma-2-2b.json"), *ONE_H200, "--output-tokens", "2"]
    assert main(words) == 0
    assert "not modelled  attn_logit_softcapping 50, whose tangents are not timed" in capsys.readouterr().out


def test_runs_with_values_refuse_what_they_cannot_compute(capsys):
    words = ["run", "gpu_only", "--model", str(MODELS / "gemma-2-2b.json"), "--local"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "cannot run with values: attn_logit_softcapping 50" in said and "remove --local" in said


def small(tmp_path, **changes: object) -> str:
    keys = json.loads((MODELS / "llama-2-7b.json").read_text())
    path = tmp_path / "small.json"
    path.write_text(json.dumps({**keys, "num_hidden_layers": 2, **changes}))
    return str(path)


@pytest.mark.parametrize("strategy", [name for name, entry in STRATEGIES.items() if entry.task != TRAINING])
def test_every_generation_takes_quantised_weights(strategy, tmp_path, capsys):
    model = small(tmp_path, quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128})
    words = ["run", strategy, "--model", model, "--prompt-tokens", "16", "--output-tokens", "2", "--json"]
    assert main([*words, "--batch", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "ok"


def test_training_refuses_quantised_weights(tmp_path, capsys):
    model = small(tmp_path, quantization_config={"quant_method": "fp8"})
    assert main(["run", "train_gpu_only", "--model", model]) == 2
    assert "has quantised weights, which training does not support" in capsys.readouterr().err


def test_options_outrank_the_configuration(tmp_path, capsys):
    def decode_s(*options: str, **changes: object) -> float:
        words = ["run", "gpu_only", "--model", small(tmp_path, **changes), *ONE_H200, "--output-tokens", "4", "--json"]
        assert main([*words, *options]) == 0
        return json.loads(capsys.readouterr().out)["phases"]["decode"]

    fp8 = {"quant_method": "fp8"}
    assert decode_s("--quantization", "fp8") == decode_s(quantization_config=fp8)
    assert decode_s("--quantization", "none", quantization_config=fp8) == decode_s()
    assert decode_s("--dtype", "fp32") > decode_s()
    assert main(["run", "gpu_only", "--model", small(tmp_path), "--quantization", "int5"]) == 2
    assert "formats are none, fp8" in capsys.readouterr().err
