"""Qwen2, 2.5 and 3, dense: biases of q, k and v, or norms of q and k by head."""

from __future__ import annotations

from controller.models.huggingface.decoder import layer_types, rotary
from controller.models.huggingface.keys import Config
from controller.models.huggingface.positions import rotation
from controller.models.shape import ModelShape


def read_qwen2(config: Config) -> ModelShape:
    """The shape of a Qwen2 or Qwen2.5 model."""
    theta, factor = rotation(config)
    fields = rotary(config, "llama") | {"qkv_bias": True}
    window, slides = windows(config, fields["layers"])
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)


def read_qwen3(config: Config) -> ModelShape:
    """The shape of a Qwen3 model; its heads are 128 wide where the file does not say it."""
    theta, factor = rotation(config)
    head_dim = config.integer("head_dim", 128)
    fields = rotary(config, "llama") | {"head_dim": head_dim, "attention_scale": head_dim**-0.5}
    bias = config.flag("attention_bias", False)
    window, slides = windows(config, fields["layers"])
    fields |= {"qkv_bias": bias, "output_bias": bias, "qk_norm": True}
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)


def windows(config: Config, layers: int) -> tuple[int, tuple[bool, ...]]:
    """Window and which layers slide; both say nothing unless ``use_sliding_window`` is set."""
    first, declared = config.optional("max_window_layers"), config.optional("sliding_window")
    kinds = layer_types(config, layers)
    if not config.flag("use_sliding_window", False):
        return 0, ()
    first = 28 if first is None else first
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise config.refuse(f"'max_window_layers' is {first!r}, expected a whole number of 0 or more")
    window = 4_096 if declared is None else config.integer("sliding_window")
    return window, kinds or tuple(layer >= first for layer in range(layers))
