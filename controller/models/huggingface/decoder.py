"""What families share: names, tokens, heads, and the fields of layers with RMS norms, rotation and a gate."""

from __future__ import annotations

from typing import Any

from controller.models.huggingface.keys import MOST_LAYERS, Config


def named(config: Config) -> dict[str, Any]:
    """Fields that every family has."""
    first_token = config.tokens("bos_token_id")
    return {
        "name": config.path.parent.name if config.path.name == "config.json" else config.path.stem,
        "source": str(config.path),
        "vocab": config.integer("vocab_size"),
        "dtype": config.dtype(),
        "bos_token": first_token[0] if first_token else None,
        "eos_tokens": config.tokens("eos_token_id"),
    }


def head_width(config: Config, hidden: int, heads: int) -> int:
    """Width of a head where it is that of the stream over their number."""
    if hidden % heads:
        raise config.refuse(f"the hidden size {hidden} is no multiple of the {heads} heads")
    return hidden // heads


def rotary(
    config: Config,
    family: str,
    *,
    activation: str = "hidden_act",
    tied: bool = False,
    eps: float = 1e-6,
    eps_key: str = "rms_norm_eps",
    default_activation: str = "silu",
    kv_heads: int | None = None,
) -> dict[str, Any]:
    """What the models with RMS norms, rotary positions and a gated feed-forward share.

    Args:
        config: of the model.
        family: our name of it.
        activation, eps_key: keys of the activation and of what is added to the variance.
        tied, eps, default_activation, kv_heads: what absent keys mean; None for as many KV heads as heads.
    """
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    head_dim = (
        config.integer("head_dim") if config.optional("head_dim") is not None else head_width(config, hidden, heads)
    )
    absent = heads if kv_heads is None or config.says_null("num_key_value_heads") else kv_heads
    groups = config.integer("num_key_value_heads", absent)
    if heads % groups:
        raise config.refuse(f"'num_attention_heads' {heads} is no multiple of 'num_key_value_heads' {groups}")
    return {
        **named(config), "family": family, "hidden": hidden,
        "layers": config.integer("num_hidden_layers", most=MOST_LAYERS),
        "heads": heads, "kv_heads": groups, "head_dim": head_dim,
        "intermediate": config.integer("intermediate_size"), "max_positions": config.integer("max_position_embeddings"),
        "norm": "rms", "norm_eps": config.number(eps_key, eps),
        "activation": config.activation(activation, default_activation),
        "gated": True, "positions": "rotary", "qkv_bias": False, "output_bias": False, "ffn_bias": False,
        "tie_word_embeddings": config.flag("tie_word_embeddings", tied), "attention_scale": head_dim**-0.5,
    }  # fmt: skip


def layer_types(config: Config, layers: int) -> tuple[bool, ...]:
    """For each layer whether it slides, as ``layer_types`` says it; empty when it is absent."""
    kinds = config.optional("layer_types")
    if not kinds:
        return ()
    known = ("sliding_attention", "full_attention")
    if not isinstance(kinds, list) or len(kinds) != layers or any(kind not in known for kind in kinds):
        raise config.refuse(f"'layer_types' is {kinds!r}, expected {layers} entries, each of {', '.join(known)}")
    return tuple(kind == "sliding_attention" for kind in kinds)
