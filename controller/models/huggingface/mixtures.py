"""Mixtral and GPT-OSS: layers of their dense relatives whose feed-forward is a choice among experts."""

from __future__ import annotations

from controller.models.expert_shape import ExpertShape
from controller.models.huggingface.decoder import layer_types, rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape


def read_mixtral(config: Config) -> ModelShape:
    """The shape of a Mixtral model."""
    theta, factor = rotation(config, default_theta=1_000_000.0)
    fields = rotary(config, "mixtral", eps=1e-5, kv_heads=8)
    config.optional("router_jitter_noise")
    # Absent and null both say that no layer slides.
    window = 0 if config.optional("sliding_window") is None else config.integer("sliding_window")
    count, chosen = choice(config, "num_local_experts", "num_experts_per_tok", 8, 2)
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, sliding_window=window,
        sliding_layers=(True,) * fields["layers"] if window else (),
        experts=ExpertShape(count, chosen, fields["intermediate"], normalise=True),
    )  # fmt: skip


def read_gpt_oss(config: Config) -> ModelShape:
    """The shape of a GPT-OSS model: sinks, biases, every second layer slides, an activation of its own."""
    theta, factor = rotation(config, default_theta=150_000.0)
    fields = rotary(config, "gpt_oss", eps=1e-5, kv_heads=8)
    bias = config.flag("attention_bias", True)
    fields |= {"qkv_bias": bias, "output_bias": bias}
    config.only("swiglu_limit", 7.0, "the activation of experts is clamped at 7")
    config.only("swiglu_alpha", 1.702, "the slope of the activation of experts is 1.702")
    for key in ("initial_context_length", "experts_per_token"):
        config.optional(key)
    count, chosen = choice(config, "num_local_experts", "num_experts_per_tok", 128, 4)
    window = config.integer("sliding_window", 128)
    slides = layer_types(config, fields["layers"]) or tuple(layer % 2 == 0 for layer in range(fields["layers"]))
    experts = ExpertShape(
        count, chosen, fields["intermediate"], score="chosen_softmax", router_bias=True, bias=True, clamped=True
    )
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, sinks=True, sliding_window=window,
        sliding_layers=slides, experts=experts,
    )  # fmt: skip


def choice(config: Config, count_key: str, chosen_key: str, count: int, chosen: int) -> tuple[int, int]:
    """How many experts there are and how many a token goes to.

    Raises:
        UnknownModel: more are chosen than there are.
    """
    count, chosen = config.integer(count_key, count, most=1 << 20), config.integer(chosen_key, chosen)
    if chosen > count:
        raise config.refuse(f"{chosen_key!r} is {chosen}, more than the {count} experts of {count_key!r}")
    return count, chosen
