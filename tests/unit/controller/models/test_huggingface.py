"""Configurations as publishers write them, and wrong ones."""

import json
from dataclasses import replace

import pytest

from controller.errors import UnknownModel
from controller.models.catalog import load_model
from controller.models.checkpoint import checkpoint_config
from controller.models.huggingface.read import read_config

OPT = {
    "model_type": "opt", "vocab_size": 50272, "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40,
    "ffn_dim": 20480, "max_position_embeddings": 2048, "do_layer_norm_before": True, "word_embed_proj_dim": 5120,
    "activation_function": "relu", "torch_dtype": "float16", "bos_token_id": 2, "eos_token_id": 2,
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 5120, "num_hidden_layers": 40, "hidden_act": "silu",
    "num_attention_heads": 40, "num_key_value_heads": 40, "intermediate_size": 13824, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05, "rope_scaling": None, "tie_word_embeddings": False, "torch_dtype": "float16",
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
NEMO = {
    "model_type": "mistral", "vocab_size": 131072, "hidden_size": 5120, "num_hidden_layers": 40, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "hidden_act": "silu",
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
QWEN = {
    "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "num_hidden_layers": 28, "hidden_act": "silu",
    "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944, "rms_norm_eps": 1e-06,
    "max_position_embeddings": 131072, "rope_theta": 1000000.0, "use_sliding_window": False, "sliding_window": 131072,
    "max_window_layers": 28, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "eos_token_id": 151643,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
    "layer_norm_epsilon": 1e-05, "activation_function": "gelu_new", "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip
GEMMA = {
    "model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 640, "num_hidden_layers": 18, "head_dim": 256,
    "num_attention_heads": 4, "num_key_value_heads": 1, "intermediate_size": 2048, "max_position_embeddings": 32768,
    "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "sliding_window": 512, "_sliding_window_pattern": 6,
    "torch_dtype": "bfloat16", "bos_token_id": 2, "eos_token_id": 1,
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read_keys(keys):
        path = tmp_path / "config.json"
        path.write_text(keys if isinstance(keys, str) else json.dumps(keys))
        return read_config(path)

    return read_keys


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("opt-13b", OPT),
        ("llama-2-13b", LLAMA),
        ("mistral-nemo-12b", NEMO),
        ("qwen2.5-7b", QWEN),
        ("gpt2", GPT2),
        ("gemma-3-270m", GEMMA),
    ],
)
def test_a_published_configuration_is_the_named_shape(read, name, keys):
    shape = load_model(name)
    assert replace(read(keys), name=name, source=shape.source) == shape


@pytest.mark.parametrize("name", ["opt-125m", "llama-2-7b", "gemma-3-270m", "tiny-opt"])
def test_a_configuration_that_is_written_reads_back(read, name):
    shape = load_model(name)
    assert replace(read(checkpoint_config(shape)), name=name, source=shape.source, dtype=shape.dtype) == shape


def test_newer_keys_of_the_rotation_say_the_same(read):
    parameters = {"rope_type": "linear", "rope_theta": 5e5, "factor": 4.0}
    newer = read(LLAMA | {"rope_parameters": parameters})
    older = read(LLAMA | {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}})
    assert newer == older
    assert newer.rotation(0) == (5e5, 4.0)
    nested = {"full_attention": {"rope_theta": 2e6}, "sliding_attention": {"rope_theta": 3e4, "rope_type": "default"}}
    gemma = read(GEMMA | {"rope_parameters": nested})
    assert (gemma.rotation(0), gemma.rotation(5)) == ((3e4, 1.0), (2e6, 1.0))


def test_an_absent_window_of_mistral_is_the_default_and_null_is_none(read):
    assert read(NEMO).sliding_window == 0
    absent = {key: value for key, value in NEMO.items() if key != "sliding_window"}
    assert (read(absent).sliding_window, read(absent).is_global(0)) == (4096, False)


def test_sliding_layers_of_qwen_begin_where_the_file_says(read):
    shape = read(QWEN | {"use_sliding_window": True, "max_window_layers": 20})
    assert [shape.is_global(layer) for layer in (0, 19, 20, 27)] == [True, True, False, False]


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size", "ffn_dim"])
def test_a_missing_key_is_named_with_its_file(read, key):
    with pytest.raises(UnknownModel, match=f"config.json: key '{key}' is missing"):
        read({one: value for one, value in OPT.items() if one != key})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'; supported are opt, gpt2, gpt_neox, llama, mistral"),
        ({}, "model_type is None"),
        ([1], "holds list"),
        ("{", "is not JSON"),
        (OPT | {"hidden_size": "5120"}, "'hidden_size' is '5120', expected a whole number above 0"),
        (OPT | {"num_hidden_layers": 0}, "'num_hidden_layers' is 0"),
        (OPT | {"num_attention_heads": 48}, "hidden size 5120 is no multiple of the 48 heads"),
        (OPT | {"do_layer_norm_before": False}, "'do_layer_norm_before' is false"),
        (OPT | {"word_embed_proj_dim": 512}, "'word_embed_proj_dim' differs"),
        (OPT | {"activation_function": "tanh"}, "'activation_function' is 'tanh', expected one of relu"),
        (OPT | {"torch_dtype": "int4"}, "the weights are 'int4'"),
        (OPT | {"eos_token_id": "x"}, "'eos_token_id' is 'x'"),
        (OPT | {"enable_bias": 1}, "'enable_bias' is 1, expected true or false"),
        (LLAMA | {"rope_scaling": {"rope_type": "spiral", "factor": 8.0}}, "'rope_scaling' has type 'spiral'"),
        (LLAMA | {"num_key_value_heads": 7}, "40 is no multiple of 'num_key_value_heads' 7"),
        (LLAMA | {"rms_norm_eps": "tiny"}, "'rms_norm_eps' is 'tiny', expected a number above 0"),
        (GEMMA | {"final_logit_softcapping": 30.0}, "'final_logit_softcapping' is 30.0"),
        (GEMMA | {"layer_types": ["full_attention"]}, "'layer_types' is .* expected 18 entries"),
        (GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "'scale_attn_by_inverse_layer_idx' is true"),
    ],
)
def test_what_a_shape_cannot_express_is_refused_by_name(read, keys, message):
    with pytest.raises(UnknownModel, match=message):
        read(keys)


DENSE = {
    "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 100,
    "intermediate_size": 128, "max_position_embeddings": 128, "hidden_act": "silu",
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"torch_dtype": ["x"]}, {"hidden_act": []}, {"rope_scaling": "linear"}, {"rope_parameters": [1]},
        {"rms_norm_eps": 10**400}, {"num_hidden_layers": 10**9}, {"hidden_size": 10**30}, {"head_dim": 0},
        {"num_local_experts": 8}, {"num_experts": 4}, {"n_routed_experts": 64},
    ],
)  # fmt: skip
def test_a_key_of_a_wrong_kind_is_named(tmp_path, wrong) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DENSE))
    assert read_config(path).layers == 2
    path.write_text(json.dumps(DENSE | wrong))
    with pytest.raises(UnknownModel, match=next(iter(wrong)) if "torch_dtype" not in wrong else "weights"):
        read_config(path)


def test_endless_nesting_is_refused(tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UnknownModel, match="nested too deeply"):
        read_config(path)
