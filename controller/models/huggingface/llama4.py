"""Llama 4, text alone: a shared expert beside one that a token chooses, layers without positions, chunked attention."""

from __future__ import annotations

from controller.models.expert_shape import ExpertShape
from controller.models.huggingface.decoder import rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.mixtures import choice
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape


def read_llama4_text(config: Config) -> ModelShape:
    """The shape of a Llama 4 model (Scout, Maverick); attention in chunks is timed over the whole context."""
    theta, factor = rotation(config, default_theta=500_000.0)
    fields = rotary(config, "llama4", eps=1e-5, kv_heads=8)
    layers, width = fields["layers"], config.integer("intermediate_size", 8_192)
    bias = config.flag("attention_bias", False)
    fields |= {
        "intermediate": config.integer("intermediate_size_mlp", 16_384), "qkv_bias": bias, "output_bias": bias,
    }  # fmt: skip
    config.note("no_rope_layers and attention_chunk_size: every layer is timed with rotation and the whole context")
    for key in ("no_rope_layers", "no_rope_layer_interval", "attention_chunk_size", "layer_types"):
        config.optional(key)
    for key in ("attn_temperature_tuning", "floor_scale", "attn_scale", "router_jitter_noise", "for_llm_compressor"):
        config.optional(key)
    if config.flag("use_qk_norm", True):
        config.note("use_qk_norm: norms of q and k without weights, which kernels apply as they rotate")
    count, chosen = choice(config, "num_local_experts", "num_experts_per_tok", 16, 1)
    config.note("the gate of llama4 weighs a token before its expert, timed as after it")
    experts = ExpertShape(
        count, chosen, width, shared_intermediate=width, dense=_dense(config, layers), score="sigmoid"
    )
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, experts=experts)


def _dense(config: Config, layers: int) -> tuple[int, ...]:
    """Layers without experts: those that no list names, or that a step passes over."""
    step, named = config.integer("interleave_moe_layer_step", 1), config.optional("moe_layers")
    if named is None:
        named = list(range(step - 1, layers, step))
    if not isinstance(named, list) or any(not isinstance(layer, int) or not 0 <= layer < layers for layer in named):
        raise config.refuse(f"'moe_layers' is {named!r}, expected numbers of the {layers} layers")
    return tuple(layer for layer in range(layers) if layer not in named)
