"""Shapes of named models against what their publishers say."""

import pytest

from controller.models.catalog import list_models, load_model
from controller.models.shape import ModelShape, weight_shapes

PARAMETERS = {
    # Weights in the released checkpoints, as their model cards count them.
    "opt-125m": 125_239_296,
    "opt-6.7b": 6_658_473_984,
    "opt-13b": 12_853_473_280,
    "opt-30b": 29_974_540_288,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "llama-7b": 6_738_415_616,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "mistral-7b": 7_241_732_096,
    "mistral-nemo-12b": 12_247_782_400,
    "qwen2.5-7b": 7_615_616_512,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-30b-a3b": 30_532_122_624,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v2": 235_741_434_880,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
}
CARDS = {
    # Total and active parameters as model cards round them [billions], and how far the rounding may be off.
    "mixtral-8x7b": (46.7, 12.9, 0.002),
    "qwen3-30b-a3b": (30.5, 3.3, 0.02),
    "deepseek-v3": (671.0, 37.0, 0.02),
    "deepseek-v2": (236.0, 21.0, 0.02),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_parameter_count_is_the_published_one(name):
    assert load_model(name).parameter_count == PARAMETERS[name]


@pytest.mark.parametrize("name", CARDS)
def test_totals_and_active_parameters_are_those_of_the_cards(name):
    total, active, rounding = CARDS[name]
    shape = load_model(name)
    assert shape.parameter_count / 1e9 == pytest.approx(total, rel=0.002)
    assert shape.active_parameter_count / 1e9 == pytest.approx(active, rel=rounding)


def test_deepseek_v3_has_671_billion_parameters_to_a_thousandth():
    assert load_model("deepseek-v3").parameter_count / 671e9 == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(("name", "total", "active"), [("gpt-oss-20b", 20.91, 3.61), ("gpt-oss-120b", 116.83, 5.13)])
def test_gpt_oss_counts_the_embedding_as_inactive(name, total, active):
    # arXiv 2508.10925, table 1: "Unembedding parameters are counted towards active, but not embeddings".
    shape = load_model(name)
    assert shape.parameter_count / 1e9 == pytest.approx(total, abs=0.005)
    embedding = shape.vocab * shape.hidden
    assert (shape.active_parameter_count - embedding) / 1e9 == pytest.approx(active, abs=0.005)


def test_latents_are_cached_instead_of_keys_and_values():
    # 512 and 64 elements a token and layer, whatever the number of heads (arXiv 2405.04434, table 1).
    assert load_model("deepseek-v3").kv_bytes_per_token("bf16") == 61 * (512 + 64) * 2 == 70_272
    assert load_model("deepseek-v2-lite").kv_bytes_per_token("bf16") == 27 * 576 * 2


def test_the_first_layers_of_deepseek_are_dense():
    names = weight_shapes(load_model("deepseek-v3"))
    assert "layers.2.gate.weight" in names and "layers.2.router.weight" not in names
    assert names["layers.3.expert_down.weight"] == (256, 7_168, 2_048) and "layers.3.gate.weight" not in names


@pytest.mark.parametrize("shape", list_models(), ids=lambda shape: shape.name)
def test_every_shape_is_whole_and_cites_a_source(shape: ModelShape):
    assert shape.source
    assert shape.heads % shape.kv_heads == 0
    width = shape.head_dim + (shape.latent.rope_dim if shape.latent else 0)
    assert shape.attention_scale == pytest.approx(width**-0.5)
    assert len(shape.sliding_layers) in (0, shape.layers)
    assert bool(shape.sliding_window) == any(shape.sliding_layers)
    assert {"embed", "final_norm.weight", "layers.0.q.weight"} <= weight_shapes(shape).keys()
    assert ("head" in weight_shapes(shape)) != shape.tie_word_embeddings


@pytest.mark.parametrize("billions", [6, 13, 30, 70, 135, 175, 276, 412])
def test_the_gpt_sizes_have_about_the_parameters_of_their_names(billions):
    # Table IV of the Ratel paper: 70B is the 64.9 billion of 80 layers of 8192.
    shape = load_model(f"gpt-{billions}b")
    assert shape.parameter_count / 1e9 == pytest.approx(billions, rel=0.08)
    assert (shape.head_dim, shape.max_positions, shape.vocab, shape.dtype) == (
        shape.hidden // shape.heads, 1024, 50_257, "fp16",
    )  # fmt: skip
    assert shape.head_dim == 128


def test_the_cache_of_opt_13b_takes_819200_bytes_a_token():
    # 40 layers, 5120 columns, keys and values, 2 bytes.
    assert load_model("opt-13b").kv_bytes_per_token("fp16") == 40 * 5120 * 2 * 2
    assert load_model("opt-13b").kv_bytes_per_token() == 819_200
    assert load_model("llama3-70b").kv_bytes_per_token("fp8") == 80 * 8 * 128 * 2


def test_weight_bytes_follow_the_element_type():
    shape = load_model("opt-13b")
    assert shape.weight_bytes() == 2 * shape.parameter_count
    assert shape.weight_bytes("fp32") == 4 * shape.parameter_count


def test_gemma_attends_globally_in_every_sixth_layer():
    shape = load_model("gemma-3-270m")
    assert [layer for layer in range(18) if shape.is_global(layer)] == [5, 11, 17]
    assert (shape.window(0), shape.window(5)) == (512, 0)
    assert (shape.first_attended(0, 512), shape.first_attended(0, 600), shape.first_attended(5, 600)) == (0, 88, 0)
    assert shape.rotation(0) == (10_000.0, 1.0)
    assert shape.rotation(5) == (1_000_000.0, 1.0)


def test_mistral_slides_in_every_layer_with_one_rotation():
    shape = load_model("mistral-7b")
    assert not any(map(shape.is_global, range(32)))
    assert shape.rotation(3) == (10_000.0, 1.0)
