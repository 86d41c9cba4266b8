"""How transformers names the weights and the configuration of a model; the way back is `huggingface/`."""

from __future__ import annotations

from typing import Any

from controller.errors import UnknownModel
from controller.models.shape import ModelShape, weight_shapes

_LLAMA = {
    "embed": "model.embed_tokens.weight", "final_norm": "model.norm", "head": "lm_head.weight",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
    "q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm",
}  # fmt: skip
_GEMMA3 = _LLAMA | {
    "post_attn_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
    "post_ffn_norm": "post_feedforward_layernorm",
}  # fmt: skip
_OPT = {
    "embed": "model.decoder.embed_tokens.weight", "positions": "model.decoder.embed_positions.weight",
    "final_norm": "model.decoder.final_layer_norm", "head": "lm_head.weight",
    "attn_norm": "self_attn_layer_norm", "ffn_norm": "final_layer_norm",
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.out_proj",
    "up": "fc1", "down": "fc2",
}  # fmt: skip
_NAMES = {"llama": (_LLAMA, "model.layers"), "gemma3": (_GEMMA3, "model.layers"), "opt": (_OPT, "model.decoder.layers")}


def checkpoint_names(shape: ModelShape) -> dict[str, str]:
    """Canonical name to the name in a checkpoint of transformers, for every weight.

    Raises:
        UnknownModel: a family whose checkpoints store other matrices than ours (GPT-2 fuses and transposes).
    """
    if shape.family not in _NAMES:
        raise UnknownModel(f"{shape.name} is of family {shape.family!r}; checkpoints are known of {', '.join(_NAMES)}")
    table, layers = _NAMES[shape.family]
    names = {}
    for name in weight_shapes(shape):
        if name.startswith("layers."):
            _, number, matrix, kind = name.split(".")
            names[name] = f"{layers}.{number}.{table[matrix]}.{kind}"
        else:
            whole, _, kind = name.partition(".")
            names[name] = f"{table[whole]}.{kind}" if kind else table[whole]
    return names


def decoder_names(name: str) -> str:
    """The name in a checkpoint of what lies outside of the layers of a rotary decoder: ``embed``, ``head``, norms."""
    whole, _, kind = name.partition(".")
    return f"{_LLAMA[whole]}.{kind}" if kind else _LLAMA[whole]


def checkpoint_config(shape: ModelShape) -> dict[str, Any]:
    """The ``config.json`` that says the same as `shape`, with float32 weights.

    Raises:
        UnknownModel: a family that is not written.
    """
    shared: dict[str, Any] = {
        "vocab_size": shape.vocab, "hidden_size": shape.hidden, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "max_position_embeddings": shape.max_positions, "dtype": "float32",
        "tie_word_embeddings": shape.tie_word_embeddings, "bos_token_id": shape.bos_token,
        "eos_token_id": list(shape.eos_tokens) or None, "pad_token_id": None,
    }  # fmt: skip
    if shape.family == "opt":
        return shared | {
            "model_type": "opt", "architectures": ["OPTForCausalLM"], "ffn_dim": shape.intermediate,
            "word_embed_proj_dim": shape.hidden, "do_layer_norm_before": True, "activation_function": shape.activation,
            "enable_bias": shape.qkv_bias, "dropout": 0.0, "attention_dropout": 0.0,
        }  # fmt: skip
    rotary = {
        "intermediate_size": shape.intermediate, "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "rms_norm_eps": shape.norm_eps, "attention_bias": shape.qkv_bias,
    }  # fmt: skip
    if shape.family == "llama" and shape.qkv_bias == shape.output_bias and not shape.sliding_layers:
        return shared | rotary | {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": shape.activation,
            "mlp_bias": shape.ffn_bias, "rope_parameters": _rope(shape.rope_theta, shape.rope_factor),
        }  # fmt: skip
    if shape.family == "gemma3":
        kinds = ["full_attention" if shape.is_global(layer) else "sliding_attention" for layer in range(shape.layers)]
        return shared | rotary | {
            "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"],
            "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": round(shape.attention_scale**-2),
            "sliding_window": shape.sliding_window, "layer_types": kinds, "pad_token_id": 0,
            "rope_parameters": {
                "full_attention": _rope(shape.rope_theta, shape.rope_factor),
                "sliding_attention": _rope(shape.rope_local_theta, 1.0),
            },
        }  # fmt: skip
    raise UnknownModel(
        f"{shape.name} of family {shape.family!r} has no configuration in transformers that is written here"
    )


def _rope(theta: float, factor: float) -> dict[str, Any]:
    if factor == 1.0:
        return {"rope_type": "default", "rope_theta": theta}
    return {"rope_type": "linear", "rope_theta": theta, "factor": factor}
