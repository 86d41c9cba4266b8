"""Llama 2, 3 and 3.1 on, Mistral, Granite and Phi-3: one layer, told apart by biases, windows and factors."""

from __future__ import annotations

from controller.models.huggingface.decoder import layer_types, rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import partial, rotation
from controller.models.shape import ModelShape


def read_llama(config: Config) -> ModelShape:
    """The shape of a Llama model."""
    theta, factor = rotation(config)
    fields = rotary(config, "llama")
    bias = config.flag("attention_bias", False)
    fields |= {"qkv_bias": bias, "output_bias": bias, "ffn_bias": config.flag("mlp_bias", False)}
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)


def read_mistral(config: Config) -> ModelShape:
    """The shape of a Mistral model."""
    theta, factor = rotation(config)
    fields = rotary(config, "llama", kv_heads=8)
    # null says that no layer slides; an absent key means the 4,096 of the first Mistral.
    window = 0 if config.says_null("sliding_window") else config.integer("sliding_window", 4_096)
    slides = layer_types(config, fields["layers"]) or ((True,) * fields["layers"] if window else ())
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)


def read_granite(config: Config) -> ModelShape:
    """The shape of a Granite model: a Llama with factors on embedding, attention, residuals and logits."""
    theta, factor = rotation(config)
    fields = rotary(config, "llama")
    bias = config.flag("attention_bias", False)
    fields |= {"qkv_bias": bias, "output_bias": bias, "ffn_bias": config.flag("mlp_bias", False)}
    fields["attention_scale"] = config.number("attention_multiplier", 1.0)
    for key in ("residual_multiplier", "logits_scaling"):
        if config.number(key, 1.0) != 1.0:
            config.note(f"{key} {config.number(key, 1.0):g}, a factor that kernels apply as they write")
    scale = config.number("embedding_multiplier", 1.0)
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, embedding_scale=scale)


def read_phi3(config: Config) -> ModelShape:
    """The shape of a Phi-3 model; q, k, v and gate, up are one matrix each there, with the same weights."""
    config.optional("original_max_position_embeddings")
    theta, factor = rotation(config)
    fields = rotary(config, "llama", eps=1e-5)
    bias = config.flag("attention_bias", False)
    fields |= {"qkv_bias": bias, "output_bias": bias}
    partial(config, "partial_rotary_factor")
    window = 0 if config.optional("sliding_window") is None else config.integer("sliding_window")
    window = 0 if window >= fields["max_positions"] else window
    slides = (True,) * fields["layers"] if window else ()
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)
