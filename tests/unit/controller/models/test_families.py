"""Configurations of all families: as many parameters as their publishers count, and what they say beside shapes."""

import json
from pathlib import Path

import pytest

from controller.errors import UnknownModel
from controller.models.catalog import load_model
from controller.models.quantization import Quantization, stored
from controller.models.shape import weight_shapes

MODELS = Path(__file__).parents[3] / "fixtures" / "models"
PUBLISHED = {
    "llama-2-7b": 6_738_415_616, "llama-3.1-8b": 8_030_261_248, "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400, "qwen2.5-0.5b": 494_032_768, "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920, "qwen3-8b": 8_190_735_360, "qwen3-32b": 32_762_123_264, "gemma-2-2b": 2_614_341_888,
    "gemma-2-27b": 27_227_128_320, "phi-3-mini-128k": 3_821_079_552, "phi-4-mini": 3_836_021_760,
    "mistral-7b-v0.3": 7_248_023_552, "granite-3.0-8b": 8_170_848_256,
    "opt-6.7b": 6_658_473_984, "gpt2-xl": 1_557_611_200, "pythia-6.9b": 6_857_302_016,
    "llama-3.1-70b-fp8": 70_553_706_496,
}  # fmt: skip
"""Parameters as the page of each model at Hugging Face gives them, a tied head once.

Written down without opening the pages again: a row that fails may be wrong itself.
"""
PUBLISHED |= {
    "gemma-3-4b": 4_300_079_472 - 416_866_032 - 2_950_272,  # without the tower of images and its projection
    "falcon-7b": 7_217_189_760 - 65_024 * 4_544,  # the page counts the tied head, too
    "falcon-40b": 41_835_970_560 - 65_024 * 8_192,
}
PUBLISHED |= {
    "mixtral-8x7b": 46_702_792_704, "qwen3-30b-a3b": 30_532_122_624, "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v2": 235_741_434_880, "gpt-oss-20b": 20_914_757_184,
    "deepseek-v3": 671_026_419_200,  # the card says 671B; the page counts the layer that predicts further tokens, too
}  # fmt: skip


UNCONFIRMED = {"gpt-neox-20b", "olmo-2-7b"}
"""Read, and without a published count to compare with."""


def model(name: str, **changes: object):
    keys = json.loads((MODELS / f"{name}.json").read_text())
    return {**keys, **changes}


@pytest.fixture
def read(tmp_path):
    def made(keys):
        path = tmp_path / "made.json"
        path.write_text(json.dumps(keys, indent=1))
        return load_model(str(path))

    return made


def test_every_configuration_has_a_published_count():
    assert {path.stem for path in MODELS.glob("*.json")} == set(PUBLISHED) | UNCONFIRMED


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    assert load_model(str(MODELS / f"{name}.json")).parameter_count == pytest.approx(PUBLISHED[name], rel=1e-3)


@pytest.mark.parametrize("kind", ["llama3", "longrope", "dynamic"])
def test_scaled_positions_without_their_numbers_are_a_note(read, kind):
    keys = model("llama-2-7b", rope_scaling={"rope_type": kind, "factor": 8.0})
    shape = read(keys)
    assert shape.rotation(0) == (10_000.0, 1.0)
    assert shape.without_values == (
        f"rope_scaling of type {kind}, which changes positions and neither shapes nor bytes",
    )
    with pytest.raises(UnknownModel, match=r"made\.json:\d+: 'rope_scaling' has type 'spiral'"):
        read(model("llama-2-7b", rope_scaling={"rope_type": "spiral"}))


def test_a_key_that_nobody_reads_is_a_note_and_harmless_ones_are_not(read):
    shape = read(model("llama-2-7b", mystery_layers=3, use_cache=True, architectures=["x"], transformers_version="4"))
    assert shape.notes == ("key 'mystery_layers' of the configuration is not read",)
    assert shape.without_values == ()
    nested = model("gemma-3-4b")
    nested["text_config"]["mystery_layers"] = 3
    assert "key 'mystery_layers' of the configuration is not read" in read(nested).notes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "dbrx"}, "'model_type' is 'dbrx', a mixture of experts"),
        ({"num_local_experts": 8}, "'num_local_experts' is 8; mixtures of experts are not supported"),
        ({"kv_lora_rank": 512}, "'kv_lora_rank' is 512; latent attention"),
        ({"quantization_config": {"quant_method": "aqlm"}}, "the method 'aqlm', expected one of fp8"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 5}}, "'bits' is 5, expected 2, 3, 4 or 8"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "'config_groups' has no weights"),
    ],
)
def test_what_is_not_dense_or_not_known_is_refused_with_its_line(read, changes, said):
    with pytest.raises(UnknownModel) as caught:
        read(model("llama-2-7b", **changes))
    assert said in str(caught.value)
    assert "made.json:" in str(caught.value)


WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}


@pytest.mark.parametrize(
    ("method", "row_bytes"),
    [
        ({"quant_method": "fp8", "activation_scheme": "dynamic"}, 4096 + 1),
        # 32 scales of 4 bytes for every 128 rows
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 4096 + 1),
        # 4096 weights of 4 bits, 32 groups with a scale of 16 bits and a zero point of 4
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 2048 + 32 * 20 // 8),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, 2048 + 3),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True}, 2048 + 64 * 20 // 8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 4096 + 4),
        ({"quant_method": "mxfp4"}, 2048 + 128),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": WEIGHTS}}}, 2048 + 64),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 2048 + 256),
    ],
)
def test_rows_have_the_bytes_of_their_format(read, method, row_bytes):
    shape = read(model("llama-2-7b", quantization_config=method))
    assert shape.quantization is not None and shape.quantization.row_bytes(4096) == row_bytes
    assert stored(shape.quantization, "layers.3.q.weight", "bf16", (4096, 4096)) == ("uint8", (4096, row_bytes))
    assert stored(shape.quantization, "embed", "bf16", (32000, 4096)) == ("bf16", (32000, 4096))
    assert shape.parameter_count == PUBLISHED["llama-2-7b"]
    plain = load_model(str(MODELS / "llama-2-7b.json")).weight_bytes()
    assert 0.25 * plain < shape.weight_bytes() < 0.53 * plain


def test_what_a_method_skips_stays_as_it_is(read):
    method = {"quant_method": "fp8", "ignored_layers": ["lm_head", "down_proj"]}
    found = read(model("llama-2-7b", quantization_config=method)).quantization
    assert isinstance(found, Quantization) and set(found.skipped) == {"head", "down"}
    assert stored(found, "layers.0.down.weight", "fp16", (4096, 11008)) == ("fp16", (4096, 11008))


def test_an_8_bit_70b_has_half_the_bytes():
    shape = load_model(str(MODELS / "llama-3.1-70b-fp8.json"))
    assert shape.weight_bytes() == pytest.approx(72.7e9, rel=0.002)


def test_layers_have_the_norms_that_their_family_has():
    names = set(weight_shapes(load_model(str(MODELS / "olmo-2-7b.json"))))
    assert "layers.0.post_attn_norm.weight" in names and "layers.0.attn_norm.weight" not in names
    assert "layers.0.ffn_norm.weight" not in set(weight_shapes(load_model(str(MODELS / "falcon-7b.json"))))
    assert "layers.0.ffn_norm.weight" in set(weight_shapes(load_model(str(MODELS / "falcon-40b.json"))))


def test_what_modelopt_writes_beside_a_configuration_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(model("llama-2-7b")))
    beside = tmp_path / "hf_quant_config.json"
    beside.write_text(json.dumps({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}))
    shape = load_model(str(tmp_path))
    assert shape.quantization is not None and shape.quantization.bits == 8
    assert shape.kv_dtype == "fp8"
    beside.write_text("{}")
    with pytest.raises(UnknownModel, match="has no object 'quantization'"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    "method",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "llm_int8_skip_modules": ["model.layers.3.mlp"]},
        {"quant_method": "modelopt", "quant_algo": "FP8", "exclude_modules": ["model.layers.3.mlp"]},
        {"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*down.*": {}}},
    ],
)
def test_what_a_method_treats_otherwise_is_noted(read, method):
    notes = read(model("llama-2-7b", quantization_config=method)).notes
    assert any("counted as quantised" in note or "all are counted in 4 bits" in note for note in notes)


def test_modelopt_leaves_what_it_excludes_as_it_is(read):
    method = {"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head", "down_proj"]}
    assert set(read(model("llama-2-7b", quantization_config=method)).quantization.skipped) == {"head", "down"}


@pytest.mark.parametrize("key", ["clip_qkv", "rope_interleaved", "_remove_final_layer_norm"])
def test_a_key_that_changes_values_keeps_a_model_from_having_them(read, key):
    shape = read(model("llama-2-7b", **{key: True}))
    assert f"key {key!r}, which changes values" in shape.without_values


def test_a_zero_says_something_and_is_noted(read):
    notes = read(model("llama-2-7b", some_gain=0.0, some_flag=False, some_list=[])).notes
    assert notes == ("key 'some_gain' of the configuration is not read",)
