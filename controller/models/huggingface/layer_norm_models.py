"""StableLM, StarCoder2 and Phi-1 to 2: rotation and norms with a bias."""

from __future__ import annotations

from controller.models.huggingface.decoder import rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import partial, rotation
from controller.models.shape import ModelShape

_BESIDE = "feed-forward and attention run one after the other, with the same work"


def read_stablelm(config: Config) -> ModelShape:
    """The shape of a StableLM model."""
    theta, factor = rotation(config)
    fields = rotary(config, "stablelm", eps=1e-5, eps_key="layer_norm_eps")
    fields |= {"norm": "layer", "qkv_bias": config.flag("use_qkv_bias", False)}
    partial(config, "partial_rotary_factor", 0.25)
    if config.flag("use_parallel_residual", False):
        fields["ffn_norm"] = False
        config.note(f"use_parallel_residual: {_BESIDE}")
    if config.flag("qk_layernorm", False):
        fields |= {"qk_norm": True, "qk_norm_whole": True}
        config.note("qk_layernorm: norms of each head with weights of its own, timed as one over all heads")
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)


def read_starcoder2(config: Config) -> ModelShape:
    """The shape of a StarCoder2 model."""
    theta, factor = rotation(config)
    fields = rotary(
        config, "starcoder2", tied=True, eps=1e-5, eps_key="norm_epsilon", default_activation="gelu_pytorch_tanh",
        kv_heads=2,
    )  # fmt: skip
    bias = config.flag("use_bias", True)
    fields |= {"norm": "layer", "gated": False, "qkv_bias": bias, "output_bias": bias, "ffn_bias": bias}
    window = 0 if config.optional("sliding_window") is None else config.integer("sliding_window")
    config.optional("mlp_type"), config.optional("norm_type"), config.optional("residual_dropout")
    slides = (True,) * fields["layers"] if window else ()
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)


def read_phi(config: Config) -> ModelShape:
    """The shape of a Phi-1, 1.5 or 2 model: one norm, a head with a bias."""
    theta, factor = rotation(config)
    fields = rotary(
        config, "phi", eps=1e-5, eps_key="layer_norm_eps", default_activation="gelu_new",
    )  # fmt: skip
    partial(config, "partial_rotary_factor", 0.5)
    if config.flag("qk_layernorm", False):
        raise config.refuse("'qk_layernorm' is true, which is not supported for phi")
    fields |= {
        "norm": "layer", "gated": False, "qkv_bias": True, "output_bias": True, "ffn_bias": True, "ffn_norm": False,
        "head_bias": True,
    }  # fmt: skip
    config.note(_BESIDE)
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)
