"""Families beyond the first sixteen, by parameter counts that their publishers state, and keys of other versions."""

from __future__ import annotations

import json

import pytest

from controller.errors import UnknownModel
from controller.models.catalog import load_model

QWEN15_MOE = {  # Qwen/Qwen1.5-MoE-A2.7B: 14.3 billion, 2.7 of them active
    "model_type": "qwen2_moe", "vocab_size": 151_936, "hidden_size": 2_048, "intermediate_size": 5_632,
    "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60,
    "num_experts_per_tok": 4, "moe_intermediate_size": 1_408, "shared_expert_intermediate_size": 5_632,
    "max_position_embeddings": 8_192, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
OLMOE = {  # allenai/OLMoE-1B-7B: 6.92 billion, 1.28 active
    "model_type": "olmoe", "vocab_size": 50_304, "hidden_size": 2_048, "intermediate_size": 1_024,
    "num_hidden_layers": 16, "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8,
    "max_position_embeddings": 4_096,
}  # fmt: skip
PHIMOE = {  # microsoft/Phi-3.5-MoE-instruct: 41.9 billion, 6.6 active
    "model_type": "phimoe", "vocab_size": 32_064, "hidden_size": 4_096, "intermediate_size": 6_400,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 16,
    "num_experts_per_tok": 2, "max_position_embeddings": 131_072, "attention_bias": True, "lm_head_bias": True,
}  # fmt: skip
SCOUT = {  # meta-llama/Llama-4-Scout: 109 billion with its tower, 17 active
    "model_type": "llama4_text", "vocab_size": 202_048, "hidden_size": 5_120, "intermediate_size": 8_192,
    "intermediate_size_mlp": 16_384, "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8,
    "head_dim": 128, "num_local_experts": 16, "interleave_moe_layer_step": 1, "max_position_embeddings": 10_485_760,
}  # fmt: skip
COMMAND_R = {  # CohereForAI/c4ai-command-r-v01: 35 billion
    "model_type": "cohere", "vocab_size": 256_000, "hidden_size": 8_192, "intermediate_size": 22_528,
    "num_hidden_layers": 40, "num_attention_heads": 64, "num_key_value_heads": 64, "max_position_embeddings": 131_072,
}  # fmt: skip
STARCODER2 = {  # bigcode/starcoder2-7b: 7.17 billion
    "model_type": "starcoder2", "vocab_size": 49_152, "hidden_size": 4_608, "intermediate_size": 18_432,
    "num_hidden_layers": 32, "num_attention_heads": 36, "num_key_value_heads": 4, "max_position_embeddings": 16_384,
    "sliding_window": 4_096,
}  # fmt: skip
GLM4 = {  # THUDM/glm-4-9b-chat-hf: 9.40 billion
    "model_type": "glm", "vocab_size": 151_552, "hidden_size": 4_096, "intermediate_size": 13_696,
    "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128,
    "max_position_embeddings": 131_072, "attention_bias": True,
}  # fmt: skip
PHI2 = {  # microsoft/phi-2: 2.78 billion
    "model_type": "phi", "vocab_size": 51_200, "hidden_size": 2_560, "intermediate_size": 10_240,
    "num_hidden_layers": 32, "num_attention_heads": 32, "max_position_embeddings": 2_048,
}  # fmt: skip
MISTRAL_SMALL = {  # mistralai/Mistral-Small-3.1-24B: 23.6 billion without its tower
    "model_type": "mistral3", "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1_024},
    "spatial_merge_size": 2,
    "text_config": {
        "model_type": "mistral", "vocab_size": 131_072, "hidden_size": 5_120, "intermediate_size": 32_768,
        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 131_072, "rope_theta": 1e9, "sliding_window": None, "tie_word_embeddings": False,
    },
}  # fmt: skip
GEMMA7 = {  # google/gemma-7b: 8.54 billion
    "model_type": "gemma", "vocab_size": 256_000, "hidden_size": 3_072, "intermediate_size": 24_576,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256,
    "max_position_embeddings": 8_192,
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def made(keys):
        path = tmp_path / "made.json"
        path.write_text(json.dumps(keys, indent=1))
        return load_model(str(path))

    return made


@pytest.mark.parametrize(
    ("keys", "billions", "active"),
    [
        (QWEN15_MOE, 14.316, 2.689), (OLMOE, 6.919, 1.282), (PHIMOE, 41.873, 6.640), (SCOUT, 107.770, 17.173),
        (COMMAND_R, 34.981, None), (STARCODER2, 7.174, None), (GLM4, 9.400, None), (PHI2, 2.780, None),
        (MISTRAL_SMALL, 23.572, None), (GEMMA7, 8.538, None),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_counts_are_the_published_ones(read, keys, billions, active):
    shape = read(keys)
    assert shape.parameter_count / 1e9 == pytest.approx(billions, rel=1e-3)
    if active is not None:
        assert shape.active_parameter_count / 1e9 == pytest.approx(active, rel=2e-2)
    assert not [note for note in shape.notes if "is not read" in note]


def test_the_text_part_has_what_stands_around_it(read):
    shape = read(MISTRAL_SMALL)
    assert (shape.dtype, shape.head_dim, shape.sliding_window) == ("bf16", 128, 0)
    assert any("vision_config" in note for note in shape.notes)


def test_newer_files_call_experts_otherwise(read):
    new = {key: value for key, value in QWEN15_MOE.items() if key != "num_experts"} | {"num_local_experts": 60}
    assert read(new).parameter_count == read(QWEN15_MOE).parameter_count
    with pytest.raises(UnknownModel, match=r"made.json:\d+: 'num_experts' is 60, and 'num_local_experts' says 8"):
        read(QWEN15_MOE | {"num_local_experts": 8})


def test_layers_without_experts_are_counted_as_such(read):
    every, half = read(QWEN15_MOE), read(QWEN15_MOE | {"decoder_sparse_step": 2, "mlp_only_layers": [3]})
    assert half.experts is not None and half.experts.dense == tuple(sorted({*range(0, 24, 2), 3}))
    assert half.parameter_count < 0.55 * every.parameter_count


@pytest.mark.parametrize(
    ("method", "said", "kv"),
    [
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig",
          "_data": {"group_size": 64}}}}, "torchao int4, groups of 64", ""),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "torchao int8, one scale a row", ""),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Float8DynamicActivationFloat8WeightConfig",
          "_data": {}}}}, "torchao fp8, one scale a row", ""),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"},
          "input_tensors": {"dtype": "fp8_e4m3", "is_dynamic": False}}}, "quark fp8, per_tensor", ""),
        ({"quant_method": "fbgemm_fp8", "modules_to_not_convert": ["lm_head"]}, "fp8, one scale a row", ""),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}}},
          "kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "compressed-tensors fp8, scales by channel", "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
         "fp8, one scale a matrix", "fp8"),
    ],
)  # fmt: skip
def test_methods_say_what_weights_and_caches_are_in(read, method, said, kv):
    shape = read(GEMMA7 | {"quantization_config": method})
    assert shape.quantization is not None
    assert (shape.quantization.text, shape.kv_dtype) == (said, kv)
    assert 0.5 * shape.parameter_count < shape.weight_bytes() < 1.3 * shape.parameter_count


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "NVFP4"}, "'kv_cache_quant_algo'"),
        ({"quant_method": "quark", "global_quant_config": {}}, "'global_quant_config' has no weight"),
        ({"quant_method": "torchao", "quant_type": "uintx"}, "'quant_type' is 'uintx'"),
        ({"quant_method": "hqq"}, "has the method 'hqq', expected one of fp8"),
    ],
)
def test_what_is_not_known_of_a_method_is_refused(read, method, said):
    with pytest.raises(UnknownModel) as caught:
        read(GEMMA7 | {"quantization_config": method})
    assert said in str(caught.value) and "made.json:" in str(caught.value)


def test_a_key_of_a_method_that_nobody_reads_is_a_note(read):
    shape = read(GEMMA7 | {"quantization_config": {"quant_method": "mxfp4", "a_new_key": 3}})
    assert any("'a_new_key' of quantization_config is not read" in note for note in shape.notes)
