"""Command-R and Command-A (Cohere): one norm for attention and feed-forward, which run beside one another."""

from __future__ import annotations

from controller.models.huggingface.decoder import layer_types, rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape


def read_cohere(config: Config) -> ModelShape:
    """The shape of a Command-R model."""
    theta, factor = rotation(config, default_theta=500_000.0)
    bias = config.flag("attention_bias", False)
    fields = rotary(config, "cohere", tied=True, eps=1e-5, eps_key="layer_norm_eps")
    fields |= {"qkv_bias": bias, "output_bias": bias, "ffn_norm": False}
    if config.flag("use_qk_norm", False):
        fields |= {"qk_norm": True, "qk_norm_whole": True}
    _noted(config)
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)


def read_cohere2(config: Config) -> ModelShape:
    """The shape of a Command-R7B or Command-A model: three of four layers slide, the fourth has no positions."""
    theta, factor = rotation(config)
    bias = config.flag("attention_bias", False)
    fields = rotary(config, "cohere", tied=True, eps=1e-5, eps_key="layer_norm_eps")
    fields |= {"qkv_bias": bias, "output_bias": bias, "ffn_norm": False}
    pattern = config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 4))
    window = 0 if config.says_null("sliding_window") else config.integer("sliding_window", 4_096)
    slides = layer_types(config, fields["layers"])
    slides = slides or tuple((layer + 1) % pattern != 0 for layer in range(fields["layers"]))
    _noted(config)
    for key in ("layer_switch", "order_of_interleaved_layers", "rotary_pct", "position_embedding_type"):
        config.optional(key)
    config.note("layers with the whole context have no rotation: it is timed in all")
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides if window else ()
    )


def _noted(config: Config) -> None:
    (
        config.optional("use_parallel_block"),
        config.optional("use_parallel_embedding"),
        config.optional("use_gated_activation"),
    )
    config.note("norms that subtract the mean, timed as those of the root of the mean square")
    config.note("feed-forward and attention run one after the other, with the same work")
    if config.number("logit_scale", 0.0625) != 1.0:
        config.note(f"logit_scale {config.number('logit_scale', 0.0625):g}, a factor that kernels apply as they write")
