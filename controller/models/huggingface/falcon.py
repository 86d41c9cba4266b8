"""Falcon: attention and feed-forward beside one another, few KV heads, norms with bias."""

from __future__ import annotations

from controller.models.huggingface.decoder import head_width, named
from controller.models.huggingface.keys import MOST_LAYERS, Config
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape


def read_falcon(config: Config) -> ModelShape:
    """The shape of a Falcon model; older files name its sizes as Bloom did."""
    hidden = config.integer("hidden_size")
    heads = config.integer("num_attention_heads", _older(config, "n_head"))
    layers = config.integer("num_hidden_layers", _older(config, "n_layer"), most=MOST_LAYERS)
    grouped, single = config.flag("new_decoder_architecture", False), config.flag("multi_query", True)
    kv_heads = config.integer("num_kv_heads", _older(config, "n_head_kv") or heads)
    kv_heads = kv_heads if grouped else 1 if single else heads
    if heads % kv_heads:
        raise config.refuse(f"'num_attention_heads' {heads} is no multiple of 'num_kv_heads' {kv_heads}")
    parallel, bias = config.flag("parallel_attn", True), config.flag("bias", False)
    norms = config.integer("num_ln_in_parallel_attn", 2 if grouped else 1)
    if parallel or grouped:
        config.note("parallel_attn: feed-forward and attention run one after the other, with the same work")
    alibi = config.flag("alibi", False)
    if alibi:
        config.note("alibi, a bias by distance that attention kernels add as they go")
    theta, factor = rotation(config)
    head_dim = head_width(config, hidden, heads)
    return ModelShape(
        **named(config), family="falcon", hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads,
        head_dim=head_dim, intermediate=config.integer("ffn_hidden_size", 4 * hidden),
        max_positions=config.integer("max_position_embeddings", 2_048),
        norm_eps=config.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=config.flag("tie_word_embeddings", True),
        activation=config.activation("activation", "gelu"),
        qkv_bias=bias, output_bias=bias, ffn_bias=bias, positions="alibi" if alibi else "rotary",
        rope_theta=theta, rope_factor=factor, attention_scale=head_dim**-0.5,
        ffn_norm=not (parallel or grouped) or norms > 1,
    )  # fmt: skip


def _older(config: Config, key: str) -> int | None:
    return None if config.optional(key) is None else config.integer(key)
