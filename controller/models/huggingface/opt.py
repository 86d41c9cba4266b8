"""OPT: norms with bias before each block, learned positions from row 2 on."""

from __future__ import annotations

from controller.models.huggingface.decoder import head_width, named
from controller.models.huggingface.keys import MOST_LAYERS, Config
from controller.models.shape import ModelShape


def read_opt(config: Config) -> ModelShape:
    """The shape of an OPT model."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if not config.flag("do_layer_norm_before", True):
        raise config.refuse("'do_layer_norm_before' is false; only models with norms before their blocks are supported")
    if config.integer("word_embed_proj_dim", hidden) != hidden:
        raise config.refuse(
            f"'word_embed_proj_dim' differs from hidden_size {hidden}; projected embeddings are not supported"
        )
    bias = config.flag("enable_bias", True)
    config.only("layer_norm_elementwise_affine", True, "norms without weights are not supported")
    return ModelShape(
        **named(config), family="opt", hidden=hidden,
        layers=config.integer("num_hidden_layers", most=MOST_LAYERS), heads=heads,
        kv_heads=heads, head_dim=head_width(config, hidden, heads), intermediate=config.integer("ffn_dim"),
        max_positions=config.integer("max_position_embeddings"), position_offset=2,
        tie_word_embeddings=config.flag("tie_word_embeddings", True),
        activation=config.activation("activation_function", "relu"),
        qkv_bias=bias, output_bias=bias, ffn_bias=bias, attention_scale=head_width(config, hidden, heads) ** -0.5,
    )  # fmt: skip
