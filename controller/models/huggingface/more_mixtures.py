"""OLMoE, GraniteMoE, Phi-3.5-MoE and GLM-4.5: mixtures whose layers are those of their dense relatives."""

from __future__ import annotations

from dataclasses import replace

from controller.models.expert_shape import ExpertShape
from controller.models.huggingface.decoder import rotary
from controller.models.huggingface.deepseek import sigmoid_experts
from controller.models.huggingface.keys import Config
from controller.models.huggingface.llama import read_granite
from controller.models.huggingface.mixtures import choice
from controller.models.huggingface.positions import partial, rotation
from controller.models.shape import ModelShape


def read_olmoe(config: Config) -> ModelShape:
    """The shape of an OLMoE model: norms of q and k over all heads together."""
    theta, factor = rotation(config)
    bias = config.flag("attention_bias", False)
    fields = rotary(config, "olmoe", eps=1e-5) | {"qkv_bias": bias, "output_bias": bias}
    config.note("norms of all heads together, which kernels with values lack")
    count, chosen = choice(config, "num_experts", "num_experts_per_tok", 64, 8)
    experts = ExpertShape(count, chosen, fields["intermediate"], normalise=config.flag("norm_topk_prob", False))
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, qk_norm=True, qk_norm_whole=True, experts=experts)


def read_granitemoe(config: Config) -> ModelShape:
    """The shape of a GraniteMoE model, with or without a shared expert; gate and up are one matrix there."""
    shape = read_granite(config)
    count, chosen = choice(config, "num_local_experts", "num_experts_per_tok", 8, 2)
    shared = config.optional("shared_intermediate_size") or 0
    if shared:
        config.integer("shared_intermediate_size")
    experts = ExpertShape(count, chosen, shape.intermediate, shared_intermediate=shared, score="chosen_softmax")
    return replace(shape, family="granitemoe", experts=experts)


def read_phimoe(config: Config) -> ModelShape:
    """The shape of a Phi-3.5-MoE model: norms with bias, a gate of its own making."""
    theta, factor = rotation(config, default_theta=1_000_000.0)
    config.optional("original_max_position_embeddings"), config.optional("input_jitter_noise")
    config.optional("router_jitter_noise")
    bias = config.flag("attention_bias", False)
    fields = rotary(config, "phimoe", eps=1e-5) | {
        "norm": "layer", "qkv_bias": bias, "output_bias": bias, "head_bias": config.flag("lm_head_bias", False),
    }  # fmt: skip
    window = 0 if config.optional("sliding_window") is None else config.integer("sliding_window")
    window = 0 if window >= fields["max_positions"] else window
    count, chosen = choice(config, "num_local_experts", "num_experts_per_tok", 16, 2)
    config.note("the gate of phimoe (SparseMixer), timed as a softmax over the chosen experts")
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, sliding_window=window,
        sliding_layers=(True,) * fields["layers"] if window else (),
        experts=ExpertShape(count, chosen, fields["intermediate"], score="chosen_softmax"),
    )  # fmt: skip


def read_glm4_moe(config: Config) -> ModelShape:
    """The shape of a GLM-4.5 model: the gate of DeepSeek-V3 over layers with grouped heads."""
    theta, factor = rotation(config)
    bias = config.flag("attention_bias", False)
    fields = rotary(config, "glm4_moe", eps=1e-5) | {"qkv_bias": bias, "qk_norm": config.flag("use_qk_norm", False)}
    partial(config, "partial_rotary_factor", 0.5)
    if config.optional("num_nextn_predict_layers"):
        config.note("num_nextn_predict_layers: the layers that predict further tokens are left out")
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, experts=sigmoid_experts(config, fields["layers"], 128, 1.0)
    )
