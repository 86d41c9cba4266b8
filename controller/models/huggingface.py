"""Reads a Hugging Face ``config.json`` into a shape.

Keys that a family always writes are required; for the others the default is that of the family's configuration class in
transformers, because that is what an absent key means there. What a shape cannot express is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from controller.errors import UnknownModel
from controller.models.shape import ModelShape

_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "silu": "silu",
    "swish": "silu",
}
MOST = 2**31
"""Largest whole number that any key may hold."""
MOST_LAYERS = 10_000
"""Most layers; every weight of every layer is named before anything runs."""
MOST_NUMBER = 1e30
_EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


class Config:
    """The keys of one configuration file; every refusal names file and key."""

    def __init__(self, path: Path, keys: Mapping[str, Any]) -> None:
        self.path, self._keys = path, keys

    def refuse(self, why: str) -> UnknownModel:
        """The error that says what about this file cannot be used."""
        return UnknownModel(f"{self.path}: {why}")

    def integer(self, key: str, default: int | None = None, most: int = MOST) -> int:
        """A positive whole number. Raises UnknownModel when it is none, or absent without a default."""
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise self.refuse(f"{key!r} is {value!r}, expected a whole number above 0")
        if value > most:
            raise self.refuse(f"{key!r} is {value!r}, expected at most {most}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number. Raises UnknownModel when it is none, or absent without a default."""
        value = self._value(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MOST_NUMBER:
            raise self.refuse(f"{key!r} is {value!r}, expected a number above 0 and at most {MOST_NUMBER:g}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false. Raises UnknownModel when it is neither."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{key!r} is {value!r}, expected true or false")
        return value

    def optional(self, key: str) -> Any:
        """Whatever the file holds, None when absent or null."""
        return self._keys.get(key)

    def says_null(self, key: str) -> bool:
        """Whether the file holds `key` and says null."""
        return key in self._keys and self._keys[key] is None

    def activation(self, key: str, default: str | None = None) -> str:
        """Our name of the activation. Raises UnknownModel when there is none."""
        value = self._value(key, default)
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise self.refuse(f"{key!r} is {value!r}, expected one of {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[value]

    def dtype(self) -> str:
        """Element type of the weights; an absent key means float32, as in PyTorch."""
        value = self._keys.get("dtype", self._keys.get("torch_dtype")) or "float32"
        if not isinstance(value, str) or value not in _DTYPES:
            raise self.refuse(f"the weights are {value!r}, expected one of {', '.join(_DTYPES)}")
        return _DTYPES[value]

    def tokens(self, key: str) -> tuple[int, ...]:
        """Token ids: one, a list, or none. Raises UnknownModel for anything else."""
        value = self._keys.get(key)
        ids = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) and one >= 0 for one in ids):
            raise self.refuse(f"{key!r} is {value!r}, expected a token id or a list of them")
        return tuple(ids)

    def rotation(self, kind: str = "") -> tuple[float, float]:
        """Theta and position factor, from the older flat keys or the newer ``rope_parameters`` (of layer type `kind`).

        Raises:
            UnknownModel: a way of scaling positions other than dividing them.
        """
        parameters = self._mapping("rope_parameters", self._keys.get("rope_parameters"))
        if parameters is None:
            scaling = self._mapping("rope_scaling", self._keys.get("rope_scaling")) or {}
            return self.number("rope_theta", 10_000.0), self._factor("rope_scaling", scaling)
        if kind in parameters:
            parameters = self._mapping(f"rope_parameters.{kind}", parameters[kind]) or {}
        nested = Config(self.path, parameters)
        return nested.number("rope_theta", 10_000.0), self._factor("rope_parameters", parameters)

    def _mapping(self, key: str, value: Any) -> Mapping[str, Any] | None:
        if value is not None and not isinstance(value, dict):
            raise self.refuse(f"{key!r} is {value!r}, expected an object or null")
        return value

    def _factor(self, key: str, scaling: Mapping[str, Any]) -> float:
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind == "default":
            return 1.0
        if kind != "linear":
            raise self.refuse(f"{key!r} has type {kind!r}, expected 'default' or 'linear'")
        return Config(self.path, scaling).number("factor")

    def _value(self, key: str, default: Any) -> Any:
        value = self._keys.get(key)
        if value is None:
            if default is None:
                raise self.refuse(f"key {key!r} is missing; take the file as the model's publisher wrote it")
            return default
        return value


def read_config(path: Path) -> ModelShape:
    """The shape that a ``config.json`` describes.

    Raises:
        UnknownModel: no such file, no JSON, a model type or a feature that shapes do not cover, a missing key.
    """
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnknownModel(f"{path}: {error.strerror}; give the path of a Hugging Face config.json") from error
    except ValueError as error:
        raise UnknownModel(f"{path} is not JSON: {error}") from error
    except RecursionError:
        raise UnknownModel(f"{path} is nested too deeply; take the file as the model's publisher wrote it") from None
    if not isinstance(keys, dict):
        raise UnknownModel(f"{path} holds {type(keys).__name__}, expected an object with a key 'model_type'")
    config = Config(path, keys)
    model_type = keys.get("model_type")
    reader = _READERS.get(model_type) if isinstance(model_type, str) else None
    if reader is None:
        raise config.refuse(f"model_type is {model_type!r}; supported are {', '.join(_READERS)}")
    for key in _EXPERT_KEYS:
        if config.optional(key) is not None and config.integer(key) > 1:
            raise config.refuse(f"{key!r} is {config.optional(key)!r}; mixtures of experts are not supported")
    return reader(config)


def _shared(config: Config) -> dict[str, Any]:
    first_token = config.tokens("bos_token_id")
    return {
        "name": config.path.parent.name if config.path.name == "config.json" else config.path.stem,
        "source": str(config.path),
        "vocab": config.integer("vocab_size"),
        "dtype": config.dtype(),
        "bos_token": first_token[0] if first_token else None,
        "eos_tokens": config.tokens("eos_token_id"),
    }


def _opt(config: Config) -> ModelShape:
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if not config.flag("do_layer_norm_before", True):
        raise config.refuse("'do_layer_norm_before' is false; only models with norms before their blocks are supported")
    if config.integer("word_embed_proj_dim", hidden) != hidden:
        raise config.refuse(
            f"'word_embed_proj_dim' differs from hidden_size {hidden}; projected embeddings are not supported"
        )
    bias = config.flag("enable_bias", True)
    return ModelShape(
        **_shared(config), family="opt", hidden=hidden,
        layers=config.integer("num_hidden_layers", most=MOST_LAYERS), heads=heads,
        kv_heads=heads, head_dim=_head_dim(config, hidden, heads), intermediate=config.integer("ffn_dim"),
        max_positions=config.integer("max_position_embeddings"), position_offset=2,
        tie_word_embeddings=config.flag("tie_word_embeddings", True),
        activation=config.activation("activation_function", "relu"),
        qkv_bias=bias, output_bias=bias, ffn_bias=bias, attention_scale=_head_dim(config, hidden, heads) ** -0.5,
    )  # fmt: skip


def _gpt2(config: Config) -> ModelShape:
    hidden, heads = config.integer("n_embd"), config.integer("n_head")
    for key in ("scale_attn_by_inverse_layer_idx", "add_cross_attention"):
        if config.flag(key, False):
            raise config.refuse(f"{key!r} is true, which is not supported")
    return ModelShape(
        **_shared(config), family="gpt", hidden=hidden,
        layers=config.integer("n_layer", most=MOST_LAYERS), heads=heads, kv_heads=heads,
        head_dim=_head_dim(config, hidden, heads), intermediate=config.integer("n_inner", 4 * hidden),
        max_positions=config.integer("n_positions"), norm_eps=config.number("layer_norm_epsilon", 1e-5),
        tie_word_embeddings=config.flag("tie_word_embeddings", True),
        activation=config.activation("activation_function", "gelu_new"),
        attention_scale=_head_dim(config, hidden, heads) ** -0.5 if config.flag("scale_attn_weights", True) else 1.0,
    )  # fmt: skip


def _rotary(config: Config, family: str, *, activation: str = "hidden_act", tied: bool = False) -> dict[str, Any]:
    """What the models with RMS norms, rotary positions and a gated feed-forward share."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    head_dim = (
        config.integer("head_dim") if config.optional("head_dim") is not None else _head_dim(config, hidden, heads)
    )
    kv_heads = config.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise config.refuse(f"'num_attention_heads' {heads} is no multiple of 'num_key_value_heads' {kv_heads}")
    return {
        **_shared(config), "family": family, "hidden": hidden,
        "layers": config.integer("num_hidden_layers", most=MOST_LAYERS),
        "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim,
        "intermediate": config.integer("intermediate_size"), "max_positions": config.integer("max_position_embeddings"),
        "norm": "rms", "norm_eps": config.number("rms_norm_eps", 1e-6), "activation": config.activation(activation),
        "gated": True, "positions": "rotary", "qkv_bias": False, "output_bias": False, "ffn_bias": False,
        "tie_word_embeddings": config.flag("tie_word_embeddings", tied), "attention_scale": head_dim**-0.5,
    }  # fmt: skip


def _llama(config: Config) -> ModelShape:
    theta, factor = config.rotation()
    fields = _rotary(config, "llama")
    bias = config.flag("attention_bias", False)
    fields |= {"qkv_bias": bias, "output_bias": bias, "ffn_bias": config.flag("mlp_bias", False)}
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor)


def _mistral(config: Config) -> ModelShape:
    theta, factor = config.rotation()
    fields = _rotary(config, "llama")
    # null says that no layer slides; an absent key means the 4,096 of the first Mistral.
    window = 0 if config.says_null("sliding_window") else config.integer("sliding_window", 4_096)
    slides = (True,) * fields["layers"] if window else ()
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)


def _qwen2(config: Config) -> ModelShape:
    theta, factor = config.rotation()
    fields = _rotary(config, "llama") | {"qkv_bias": True}
    window = 0
    slides: tuple[bool, ...] = ()
    if config.flag("use_sliding_window", False):
        first = config.optional("max_window_layers")
        first = 28 if first is None else first
        if not isinstance(first, int) or isinstance(first, bool) or first < 0:
            raise config.refuse(f"'max_window_layers' is {first!r}, expected a whole number of 0 or more")
        window = config.integer("sliding_window", 4_096)
        slides = _layer_types(config, fields["layers"]) or tuple(layer >= first for layer in range(fields["layers"]))
    return ModelShape(**fields, rope_theta=theta, rope_factor=factor, sliding_window=window, sliding_layers=slides)


def _gemma3(config: Config) -> ModelShape:
    for key in ("final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention"):
        if config.optional(key):
            raise config.refuse(f"{key!r} is {config.optional(key)!r}, which is not supported")
    if config.optional("rope_parameters"):
        theta, factor = config.rotation("full_attention")
        local_theta, _ = config.rotation("sliding_attention")
    else:
        theta, local_theta = config.number("rope_theta", 1_000_000.0), config.number("rope_local_base_freq", 10_000.0)
        _, factor = config.rotation()
    fields = _rotary(config, "gemma3", activation="hidden_activation", tied=True)
    bias = config.flag("attention_bias", False)
    fields |= {
        "qkv_bias": bias,
        "output_bias": bias,
        "attention_scale": config.number("query_pre_attn_scalar", 256) ** -0.5,
    }
    pattern = config.integer("sliding_window_pattern", config.integer("_sliding_window_pattern", 6))
    slides = _layer_types(config, fields["layers"])
    return ModelShape(
        **fields, rope_theta=theta, rope_factor=factor, rope_local_theta=local_theta, norm_offset=1.0, qk_norm=True,
        post_norms=True, embedding_scale=fields["hidden"] ** 0.5,
        sliding_window=config.integer("sliding_window", 4_096),
        sliding_layers=slides or tuple((layer + 1) % pattern != 0 for layer in range(fields["layers"])),
    )  # fmt: skip


def _layer_types(config: Config, layers: int) -> tuple[bool, ...]:
    kinds = config.optional("layer_types")
    if not kinds:
        return ()
    known = ("sliding_attention", "full_attention")
    if not isinstance(kinds, list) or len(kinds) != layers or any(kind not in known for kind in kinds):
        raise config.refuse(f"'layer_types' is {kinds!r}, expected {layers} entries, each of {', '.join(known)}")
    return tuple(kind == "sliding_attention" for kind in kinds)


def _head_dim(config: Config, hidden: int, heads: int) -> int:
    if hidden % heads:
        raise config.refuse(f"the hidden size {hidden} is no multiple of the {heads} heads")
    return hidden // heads


_READERS: Mapping[str, Callable[[Config], ModelShape]] = {
    "opt": _opt,
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "gemma3_text": _gemma3,
}
"""Model types that can be read."""
