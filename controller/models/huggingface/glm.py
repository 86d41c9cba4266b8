"""GLM-4 and SmolLM3: Llamas with half of each head rotated, norms on both sides, or layers without rotation."""

from __future__ import annotations

from controller.models.huggingface.decoder import rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import partial, rotation
from controller.models.shape import ModelShape


def read_glm(config: Config) -> ModelShape:
    """The shape of a GLM-4 model of 2024; gate and up are one matrix there."""
    return _glm(config, post_norms=False)


def read_glm4(config: Config) -> ModelShape:
    """The shape of a GLM-4 model of 2025, with a norm behind each block."""
    return _glm(config, post_norms=True)


def read_smollm3(config: Config) -> ModelShape:
    """The shape of a SmolLM3 model: every fourth layer has no rotation."""
    theta, factor = rotation(config, default_theta=2_000_000.0)
    bias = config.flag("attention_bias", False)
    fields = rotary(config, "smollm3", tied=True, kv_heads=4)
    fields |= {"qkv_bias": bias, "output_bias": bias, "ffn_bias": config.flag("mlp_bias", False)}
    for key in ("no_rope_layers", "no_rope_layer_interval", "layer_types", "max_window_layers", "sliding_window"):
        config.optional(key)
    if config.flag("use_sliding_window", False):
        raise config.refuse("'use_sliding_window' is true, which is not supported for smollm3")
    config.note("no_rope_layers: rotation is timed in all layers")
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)


def _glm(config: Config, *, post_norms: bool) -> ModelShape:
    theta, factor = rotation(config)
    fields = rotary(config, "glm", eps=1.5625e-07, kv_heads=2) | {"qkv_bias": config.flag("attention_bias", True)}
    partial(config, "partial_rotary_factor", 0.5)
    config.note("pairs of neighbours rotate, timed as halves of a head")
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, post_norms=post_norms)
