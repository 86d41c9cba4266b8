"""Qwen2-MoE and Qwen3-MoE: experts in the layers that a step and a list say, beside a shared one or alone."""

from __future__ import annotations

from controller.models.expert_shape import ExpertShape
from controller.models.huggingface.decoder import rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.mixtures import choice
from controller.models.huggingface.positions import rotation
from controller.models.huggingface.qwen import windows
from controller.models.shape import ModelShape


def read_qwen2_moe(config: Config) -> ModelShape:
    """The shape of a Qwen2-MoE model, as Qwen1.5-MoE-A2.7B and Qwen2-57B-A14B: a gated shared expert."""
    theta, factor = rotation(config)
    fields = rotary(config, "qwen2_moe") | {"qkv_bias": config.flag("qkv_bias", True)}
    window, slides = windows(config, fields["layers"])
    experts = _experts(
        config, fields["layers"], (60, 4, 1_408), config.integer("shared_expert_intermediate_size", 5_632)
    )
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides, experts=experts
    )


def read_qwen3_moe(config: Config) -> ModelShape:
    """The shape of a Qwen3-MoE model."""
    theta, factor = rotation(config)
    fields = rotary(config, "qwen3_moe")
    bias = config.flag("attention_bias", False)
    fields |= {"qkv_bias": bias, "output_bias": bias, "qk_norm": True}
    window, slides = windows(config, fields["layers"])
    experts = _experts(config, fields["layers"], (128, 8, 768), 0)
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides, experts=experts
    )


def _experts(config: Config, layers: int, defaults: tuple[int, int, int], shared: int) -> ExpertShape:
    # What transformers from 5.0 on writes as num_local_experts was num_experts before.
    key = "num_local_experts" if config.optional("num_local_experts") is not None else "num_experts"
    if key == "num_local_experts" and config.optional("num_experts") not in (None, config.optional(key)):
        raise config.refuse(
            f"'num_experts' is {config.optional('num_experts')!r}, and 'num_local_experts' says "
            f"{config.optional(key)!r}; remove one of them"
        )
    count, chosen = choice(config, key, "num_experts_per_tok", *defaults[:2])
    step, only = config.integer("decoder_sparse_step", 1), config.optional("mlp_only_layers") or []
    if not isinstance(only, list) or any(not isinstance(layer, int) or not 0 <= layer < layers for layer in only):
        raise config.refuse(f"'mlp_only_layers' is {only!r}, expected numbers of the {layers} layers")
    dense = tuple(layer for layer in range(layers) if layer in only or (layer + 1) % step)
    return ExpertShape(
        count, chosen, config.integer("moe_intermediate_size", defaults[2]), shared_intermediate=shared,
        shared_gate=shared > 0, dense=dense, normalise=config.flag("norm_topk_prob", False),
    )  # fmt: skip
