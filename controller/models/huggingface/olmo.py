"""OLMo 2 and 3: norms after each block alone, and norms of q and k over all heads together."""

from __future__ import annotations

from dataclasses import replace

from controller.models.huggingface.decoder import layer_types, rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape


def read_olmo3(config: Config) -> ModelShape:
    """The shape of an OLMo 3 model: an OLMo 2 of which three of four layers slide."""
    shape = read_olmo2(config)
    window = 0 if config.says_null("sliding_window") else config.integer("sliding_window", 4_096)
    slides = layer_types(config, shape.layers) or tuple((layer + 1) % 4 != 0 for layer in range(shape.layers))
    return replace(shape, sliding_window=window, sliding_layers=slides if window else ())


def read_olmo2(config: Config) -> ModelShape:
    """The shape of an OLMo 2 model."""
    theta, factor = rotation(config)
    fields = rotary(config, "olmo2", eps=1e-5)
    bias = config.flag("attention_bias", False)
    config.note("norms after each block and of all heads together, which kernels with values lack")
    return ModelShape(
        **fields | {"qkv_bias": bias, "output_bias": bias}, rope_theta=theta, rope_factor=factor,
        attn_norm=False, ffn_norm=False, post_norms=True, qk_norm=True, qk_norm_whole=True,
    )  # fmt: skip
