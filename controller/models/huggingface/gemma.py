"""Gemma 2 and 3: norms on both sides of each block, windows in most layers; Gemma 3 also inside of a multimodal one."""

from __future__ import annotations

from controller.models.huggingface.decoder import layer_types, rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.nested import read_text_part
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape

GEMMA3 = {
    "vocab_size": 262_208, "hidden_size": 2_304, "intermediate_size": 9_216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131_072,
    "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 1_000_000.0,
}  # fmt: skip
"""Defaults of Gemma3TextConfig, which the files of multimodal models rely on. Source: transformers."""


_GELU = "gelu_pytorch_tanh"


def read_gemma(config: Config) -> ModelShape:
    """The shape of a Gemma 1 model; what its class calls hidden_act outranks hidden_activation where that is null."""
    theta, factor = rotation(config)
    key = "hidden_act" if config.optional("hidden_activation") is None else "hidden_activation"
    config.optional("hidden_act"), config.optional("use_bidirectional_attention")
    fields = rotary(config, "gemma", activation=key, tied=True, default_activation=_GELU)
    if key == "hidden_act":
        fields["activation"] = "gelu_tanh"  # released weights were trained with it, whatever the file says
    bias = config.flag("attention_bias", False)
    fields |= {"qkv_bias": bias, "output_bias": bias, "embedding_scale": fields["hidden"] ** 0.5, "norm_offset": 1.0}
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)


def read_gemma2(config: Config) -> ModelShape:
    """The shape of a Gemma 2 model."""
    theta, factor = rotation(config)
    config.optional("hidden_act")  # what Gemma2Config calls hidden_activation outranks it
    fields = rotary(config, "gemma2", activation="hidden_activation", tied=True, default_activation=_GELU)
    fields |= _scaled(config, fields["hidden"])
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.optional(key):
            config.note(f"{key} {config.number(key):g}, whose tangents are not timed")
    slides = layer_types(config, fields["layers"]) or tuple(layer % 2 == 0 for layer in range(fields["layers"]))
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, norm_offset=1.0, post_norms=True,
        sliding_window=config.integer("sliding_window", 4_096), sliding_layers=slides,
    )  # fmt: skip


def read_gemma3_text(config: Config) -> ModelShape:
    """The shape of a Gemma 3 model, text alone."""
    for key in ("final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention"):
        if config.optional(key):
            raise config.refuse(f"{key!r} is {config.optional(key)!r}, which is not supported")
    if config.optional("rope_parameters"):
        theta, factor = rotation(config, "full_attention")
        local_theta, _ = rotation(config, "sliding_attention")
    else:
        theta, local_theta = config.number("rope_theta", 1_000_000.0), config.number("rope_local_base_freq", 10_000.0)
        _, factor = rotation(config)
    fields = rotary(config, "gemma3", activation="hidden_activation", tied=True, default_activation=_GELU)
    fields |= _scaled(config, fields["hidden"])
    pattern = config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 6))
    slides = layer_types(config, fields["layers"])
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, rope_local_theta=local_theta, norm_offset=1.0, qk_norm=True,
        post_norms=True, sliding_window=config.integer("sliding_window", 4_096),
        sliding_layers=slides or tuple((layer + 1) % pattern != 0 for layer in range(fields["layers"])),
    )  # fmt: skip


def read_gemma3(config: Config) -> ModelShape:
    """The text part of a multimodal Gemma 3."""
    return read_text_part(config, read_gemma3_text, GEMMA3)


def _scaled(config: Config, hidden: int) -> dict[str, object]:
    bias = config.flag("attention_bias", False)
    return {
        "qkv_bias": bias, "output_bias": bias, "embedding_scale": hidden**0.5,
        "attention_scale": config.number("query_pre_attn_scalar", 256) ** -0.5,
    }  # fmt: skip
