"""``quantization_config``: what weights are stored in, by the method that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controller.models.huggingface.keys import Config
from controller.models.quantization import Quantization, not_timed

NAMES = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "gate_proj": "gate", "up_proj": "up",
    "down_proj": "down",
}  # fmt: skip
"""Names of transformers -> ours, of what a method may leave as it is."""
OF_EVERY_LAYER = {
    "model.layers.*.self_attn": ("q", "k", "v", "o"), "model.layers.*.mlp.router": (), "model.embed_tokens": (),
}  # fmt: skip
"""Patterns of transformers -> our names of the matrices that they leave as they are, where those may be quantised."""


def read_quantization(config: Config) -> Quantization | None:
    """How the weights are quantised; None where they are not.

    Raises:
        UnknownModel: an unknown method, or settings that contradict each other.
    """
    found = config.mapping("quantization_config") or config.mapping("compression_config")
    if found is None:
        return None
    inner = Config(config.path, found)
    method = inner.optional("quant_method") or ("compressed-tensors" if "config_groups" in found else None)
    if not isinstance(method, str) or method not in METHODS:
        raise config.refuse(f"'quantization_config' has the method {method!r}, expected one of {', '.join(METHODS)}")
    made = METHODS[method](inner, found)
    if any(found.get(key) for key in ("kv_cache_scheme", "kv_cache_quant_algo")):
        made = made.with_notes("the type of the KV cache in quantization_config: the cache is counted unquantised")
    return made


def _bits(config: Config, *keys: str, default: int | None = None) -> int:
    key = next((key for key in keys if config.optional(key) is not None), keys[0])
    bits = config.integer(key, default)
    if bits not in (2, 3, 4, 8):
        raise config.refuse(f"{key!r} is {bits}, expected 2, 3, 4 or 8 bits")
    return bits


def _group(config: Config, *keys: str, default: int) -> int:
    """Weights of a row that share a scale; 0 for all of them."""
    key = next((key for key in keys if config.optional(key) is not None), keys[0])
    value = config.optional(key)
    if value in (-1, 0):
        return 0
    return config.integer(key, default)


def _skipped(config: Config, *keys: str) -> tuple[str, ...]:
    """Matrices that stay as they are, by our names; ``lm_head`` is ``head``."""
    names: list[str] = []
    for key in keys:
        for name in config.optional(key) or ():
            last = str(name).rstrip("$").rpartition(".")[2]
            if name in OF_EVERY_LAYER:
                names.extend(OF_EVERY_LAYER[name])
            elif "lm_head" in str(name):
                names.append("head")
            elif last in NAMES and "layers." not in str(name):
                names.append(NAMES[last])
            elif str(name).startswith(("model.layers.", "re:")) or last in NAMES:
                config.note(f"{key} {name!r}: counted as quantised")
    return tuple(dict.fromkeys(names))


def _fp8(config: Config, found: Mapping[str, Any]) -> Quantization:
    block = config.optional("weight_block_size")
    if block is not None and not (
        isinstance(block, list) and len(block) == 2 and all(isinstance(n, int) for n in block)
    ):
        raise config.refuse(f"'weight_block_size' is {block!r}, expected two whole numbers")
    scheme = str(found.get("activation_scheme", "dynamic"))
    skipped = _skipped(config, "ignored_layers", "modules_to_not_convert")
    said = f"fp8, {'blocks of ' + ' x '.join(map(str, block)) if block else 'one scale a matrix'}"
    return Quantization(
        said, 8, 0, 0, 32 * len(block or ()) // 2, ("head", *skipped), (*config.notes, not_timed(f"{scheme} fp8"))
    )


def _gptq(config: Config, found: Mapping[str, Any]) -> Quantization:
    bits, group = _bits(config, "bits"), _group(config, "group_size", default=128)
    head = () if found.get("lm_head") else ("head",)
    for key in ("dynamic", "modules_in_block_to_quantize"):
        if config.optional(key):
            config.note(f"{key}, which treats some matrices otherwise: all are counted in {bits} bits")
    said = f"GPTQ int{bits}, {f'groups of {group}' if group else 'one scale a row'}"
    return Quantization(said, bits, group, 16, bits, head, (*config.notes, not_timed(f"int{bits}")))


def _awq(config: Config, found: Mapping[str, Any]) -> Quantization:
    bits = _bits(config, "bits", "w_bit", default=4)
    group = _group(config, "group_size", "q_group_size", default=128)
    skipped = _skipped(config, "modules_to_not_convert")
    zero = bits if found.get("zero_point", True) else 0
    said = f"AWQ int{bits}, {f'groups of {group}' if group else 'one scale a row'}"
    return Quantization(said, bits, group, 16, zero, ("head", *skipped), (*config.notes, not_timed(f"int{bits}")))


def _bitsandbytes(config: Config, found: Mapping[str, Any]) -> Quantization:
    skipped = _skipped(config, "llm_int8_skip_modules")
    if found.get("load_in_4bit", found.get("_load_in_4bit")):
        scale = 8 if found.get("bnb_4bit_use_double_quant") else 32
        return Quantization("nf4, blocks of 64", 4, 64, scale, 0, ("head", *skipped), (*config.notes, not_timed("nf4")))
    return Quantization("int8, one scale a row", 8, 0, 32, 0, ("head", *skipped), (*config.notes, not_timed("int8")))


def _mxfp4(config: Config, _: Mapping[str, Any]) -> Quantization:
    skipped = _skipped(config, "modules_to_not_convert")
    return Quantization("mxfp4, blocks of 32", 4, 32, 8, 0, ("head", *skipped), (*config.notes, not_timed("mxfp4")))


def _modelopt(config: Config, found: Mapping[str, Any]) -> Quantization:
    inner = found.get("quantization", found)
    of_inner = Config(config.path, inner)
    kind, head = str(inner.get("quant_algo", "")).upper(), ("head", *_skipped(of_inner, "exclude_modules", "ignore"))
    if kind == "FP8":
        return Quantization("fp8, one scale a matrix", 8, 0, 0, 0, head, (*of_inner.notes, not_timed("fp8")))
    if kind == "NVFP4":
        return Quantization("nvfp4, blocks of 16", 4, 16, 8, 0, head, (*of_inner.notes, not_timed("nvfp4")))
    raise config.refuse(f"'quant_algo' is {kind!r}, expected FP8 or NVFP4")


def _compressed(config: Config, found: Mapping[str, Any]) -> Quantization:
    groups = found.get("config_groups")
    weights = [each.get("weights") for each in groups.values()] if isinstance(groups, dict) else []
    weights = [each for each in weights if isinstance(each, dict)]
    if not weights or any(each != weights[0] for each in weights):
        raise config.refuse("'config_groups' has no weights, or different ones; one scheme for all layers is supported")
    scheme = Config(config.path, weights[0])
    bits = _bits(scheme, "num_bits")
    kind = f"{'fp' if scheme.optional('type') == 'float' else 'int'}{bits}"
    strategy = scheme.optional("strategy")
    known = ("tensor", "channel", "group", "tensor_group", "block")
    if strategy is not None and strategy not in known:
        raise config.refuse(f"'strategy' is {strategy!r}, expected one of {', '.join(known)}")
    group = scheme.integer("group_size") if strategy in ("group", "tensor_group") else 0
    scale = 0 if strategy == "tensor" else 16
    zero = 0 if scheme.optional("symmetric") in (None, True) else bits
    skipped = _skipped(config, "ignore")
    said = f"compressed-tensors {kind}, {f'groups of {group}' if group else f'scales by {strategy}'}"
    return Quantization(said, bits, group, scale, zero, skipped, (*config.notes, not_timed(kind)))


METHODS: Mapping[str, Callable[[Config, Mapping[str, Any]], Quantization]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "gptq": _gptq,
    "awq": _awq,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "compressed-tensors": _compressed,
}
"""Methods that are known, as ``quant_method`` names them."""
