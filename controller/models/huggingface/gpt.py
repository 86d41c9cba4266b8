"""GPT-2 and GPT-NeoX: norms with bias; learned positions, or a rotation of a part of each head."""

from __future__ import annotations

from controller.models.huggingface.decoder import head_width, named
from controller.models.huggingface.keys import MOST_LAYERS, Config
from controller.models.huggingface.positions import partial, rotation
from controller.models.shape import ModelShape


def read_gpt2(config: Config) -> ModelShape:
    """The shape of a GPT-2 model."""
    hidden, heads = config.integer("n_embd"), config.integer("n_head")
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        if config.flag(key, False):
            raise config.refuse(f"{key!r} is true, which is not supported")
    config.optional("n_ctx")  # as n_positions
    return ModelShape(
        **named(config), family="gpt", hidden=hidden,
        layers=config.integer("n_layer", most=MOST_LAYERS), heads=heads, kv_heads=heads,
        head_dim=head_width(config, hidden, heads), intermediate=config.integer("n_inner", 4 * hidden),
        max_positions=config.integer("n_positions"), norm_eps=config.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=config.flag("tie_word_embeddings", True),
        activation=config.activation("activation_function", "gelu_new"),
        attention_scale=head_width(config, hidden, heads) ** -0.5 if config.flag("scale_attn_weights", True) else 1.0,
    )  # fmt: skip


def read_gpt_neox(config: Config) -> ModelShape:
    """The shape of a GPT-NeoX or Pythia model."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    theta, factor = rotation(config, default_theta=config.number("rotary_emb_base", 10_000.0))
    partial(config, "rotary_pct", 0.25)
    if config.flag("use_parallel_residual", True):
        config.note("use_parallel_residual: feed-forward and attention run one after the other, with the same work")
    bias = config.flag("attention_bias", True)
    return ModelShape(
        **named(config), family="gpt_neox", hidden=hidden,
        layers=config.integer("num_hidden_layers", most=MOST_LAYERS), heads=heads, kv_heads=heads,
        head_dim=head_width(config, hidden, heads), intermediate=config.integer("intermediate_size"),
        max_positions=config.integer("max_position_embeddings"), norm_eps=config.number("layer_norm_eps", 1e-5),
        tie_word_embeddings=config.flag("tie_word_embeddings", False),
        activation=config.activation("hidden_act", "gelu"),
        qkv_bias=bias, output_bias=bias, positions="rotary", rope_theta=theta, rope_factor=factor,
        attention_scale=head_width(config, hidden, heads) ** -0.5,
    )  # fmt: skip
