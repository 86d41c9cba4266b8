"""Configurations of mixtures and of latent attention: the named shapes, their bytes, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import UnknownModel
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from node.hardware.units import GIBI

MODELS = Path(__file__).parents[3] / "fixtures" / "models"
NAMES = ("mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v2-lite", "deepseek-v2", "deepseek-v3", "gpt-oss-20b")


def keys_of(name):
    return json.loads((MODELS / f"{name}.json").read_text())


@pytest.fixture
def read(tmp_path):
    def made(name, **changes):
        path = tmp_path / "made.json"
        path.write_text(json.dumps({**keys_of(name), **changes}, indent=1))
        return load_model(str(path))

    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_is_the_named_shape(name):
    ours, theirs = load_model(name), load_model(str(MODELS / f"{name}.json"))
    said = {
        field: getattr(theirs, field)
        for field in (
            "source",
            "bos_token",
            "eos_tokens",
            "quantization",
            "rope_scaling",
            "attention_scale",
        )
    }
    assert replace(ours, **said) == replace(theirs, notes=(), without_values=())


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_read_or_harmless(name):
    assert not [note for note in load_model(str(MODELS / f"{name}.json")).notes if "is not read" in note]


def test_quantised_experts_are_counted_in_their_bytes():
    # arXiv 2508.10925, table 1: a checkpoint of 12.8 GiB; deepseek-ai/DeepSeek-V3: 1 byte a weight but for the ends.
    assert load_model(str(MODELS / "gpt-oss-20b.json")).weight_bytes() / GIBI == pytest.approx(12.8, abs=0.05)
    deepseek = load_model(str(MODELS / "deepseek-v3.json"))
    assert 1.0 < deepseek.weight_bytes() / deepseek.parameter_count < 1.02


def test_quantised_experts_run_and_are_faster_than_whole_ones(tmp_path):
    def seconds(**changes):
        path = tmp_path / f"made{len(changes)}.json"
        path.write_text(json.dumps({**keys_of("gpt-oss-20b"), **changes}))
        spec = RunSpec("gpu_only", str(path), "offload_h100", batch=16, prompt_tokens=64, output_tokens=4)
        return run_experiment(spec).outcome.time_s

    assert seconds() < 0.8 * seconds(quantization_config=None)


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v2-lite", "qwen3-30b-a3b"])
def test_configurations_run(name):
    spec = RunSpec("gpu_only", str(MODELS / f"{name}.json"), "dgx_h200", batch=2, prompt_tokens=16, output_tokens=2)
    assert run_experiment(spec).outcome.ok


WRONG = [
    ("mixtral-8x7b", {"num_experts_per_tok": 9}, "'num_experts_per_tok' is 9, more than the 8 experts"),
    ("mixtral-8x7b", {"num_local_experts": 0}, "'num_local_experts' is 0"),
    ("qwen3-30b-a3b", {"mlp_only_layers": [48]}, "'mlp_only_layers'"),
    ("qwen3-30b-a3b", {"decoder_sparse_step": 0}, "'decoder_sparse_step' is 0"),
    ("deepseek-v2", {"n_group": 7}, "160 experts do not divide"),
    ("deepseek-v2", {"topk_method": "best"}, "'topk_method' is 'best'"),
    ("deepseek-v3", {"first_k_dense_replace": 62}, "'first_k_dense_replace' is 62, expected 0 to the 61 layers"),
    ("deepseek-v3", {"scoring_func": "softmax"}, "'scoring_func' is 'softmax'"),
    ("deepseek-v3", {"qk_rope_head_dim": 63}, "expected an even number"),
    ("deepseek-v3", {"n_shared_experts": -1}, "'n_shared_experts' is -1"),
    ("gpt-oss-20b", {"swiglu_limit": 5.0}, "'swiglu_limit' is 5.0"),
    ("mixtral-8x7b", {"model_type": "dbrx"}, "'dbrx', a mixture of experts, which is not read from a file"),
    ("mixtral-8x7b", {"model_type": "llama"}, "'num_local_experts' is 8; mixtures of experts are not supported"),
]


@pytest.mark.parametrize(("name", "changes", "words"), WRONG)
def test_what_contradicts_itself_or_is_unknown_is_refused(read, name, changes, words):
    with pytest.raises(UnknownModel, match=words):
        read(name, **changes)
