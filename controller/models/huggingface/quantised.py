"""``quantization_config``: what weights, activations and KV caches are stored in, by the method that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from controller.models.huggingface.keys import Config
from controller.models.huggingface.schemes import compressed, quark, torchao
from controller.models.huggingface.skipped import skipped
from controller.models.quantization import Quantization

HARMLESS = frozenset({
    "_load_in_4bit", "_load_in_8bit", "activation_scale_ub", "adv", "autoround_version", "backend", "batch_size",
    "block_name_to_quantize", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage", "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant", "cache_block_outputs", "checkpoint_format", "damp_percent", "data_type", "dataset",
    "dequantize", "desc_act", "disable_exllama", "do_fuse", "dynamic", "exclude_modules", "exllama_config", "fmt",
    "fmt_version", "format", "fuse_max_seq_len", "global_compression_ratio", "hidden_size",
    "include_input_output_embeddings", "is_marlin_format", "iters", "kv_cache_quant_algo", "kv_cache_scheme",
    "llm_int8_enable_fp32_cpu_offload", "llm_int8_has_fp16_weight", "llm_int8_threshold", "lm_head", "load_in_4bit",
    "load_in_8bit", "max_input_length", "meta", "model_file_base_name", "model_name_or_path",
    "module_name_preceding_quantized_block", "modules_in_block_to_quantize", "modules_to_fuse",
    "modules_to_not_convert", "pack_dtype", "producer", "quant_algo", "quant_method", "quant_type_kwargs",
    "quantization", "quantization_status", "sparsity_config", "static_groups", "sym", "tokenizer",
    "transform_config", "true_sequential", "untie_embedding_weights", "use_cuda_fp16", "use_exllama", "version",
    "zero_point",
})  # fmt: skip
"""Keys that change neither time nor bytes, or that a method reads beside those that it asks for."""


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
    left = [f"key {key!r} of quantization_config is not read" for key in inner.left_over() if key not in HARMLESS]
    return replace(made, kv_dtype=_kv_type(config, found), notes=(*made.notes, *left))


def _kv_type(config: Config, found: Mapping[str, Any]) -> str:
    """Type of the KV cache; "" where nothing is said.

    Raises:
        UnknownModel: a type that caches do not have.
    """
    inner = found.get("quantization")
    algorithm = found.get("kv_cache_quant_algo") or (inner or {}).get("kv_cache_quant_algo")
    if algorithm:
        name = {"FP8": "fp8", "INT8": "int8"}.get(str(algorithm).upper())
        if name is None:
            raise config.refuse(f"'kv_cache_quant_algo' is {algorithm!r}, expected FP8 or INT8")
        return name
    scheme = found.get("kv_cache_scheme")
    if not scheme:
        return ""
    if isinstance(scheme, str):  # modelopt's newer files: a name
        scheme = {"num_bits": 8, "type": "float" if "fp8" in scheme.lower() else "int"}
    bits, kind = scheme.get("num_bits"), scheme.get("type")
    if bits != 8 or kind not in ("float", "int"):
        raise config.refuse(
            f"'kv_cache_scheme' has {bits!r} bits of type {kind!r}, expected 8 bits of type float or int"
        )
    return "fp8" if kind == "float" else "int8"


def bits_of(config: Config, *keys: str, default: int | None = None) -> int:
    """Bits of a weight, by the first key that is there."""
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


def _fp8(config: Config, found: Mapping[str, Any]) -> Quantization:
    block = config.optional("weight_block_size")
    whole = isinstance(block, list) and len(block) == 2 and all(isinstance(n, int) and n > 0 for n in block)
    if block is not None and not whole:
        raise config.refuse(f"'weight_block_size' is {block!r}, expected two whole numbers")
    scheme = config.optional("activation_scheme") or "dynamic"
    if scheme not in ("dynamic", "static"):
        raise config.refuse(f"'activation_scheme' is {scheme!r}, expected dynamic or static")
    names = skipped(config, "ignored_layers", "modules_to_not_convert")
    said = f"fp8, {'blocks of ' + ' x '.join(map(str, block)) if block else 'one scale a matrix'}"
    activations = "block" if block else "tensor" if scheme == "static" else "token"
    return Quantization(
        said, 8, block[1] if block else 0, 32, 0, ("head", *names), config.notes_so_far(), kind="fp8",
        activations=activations, scale_rows=block[0] if block else -1,
    )  # fmt: skip


def _fbgemm(config: Config, _: Mapping[str, Any]) -> Quantization:
    names = skipped(config, "modules_to_not_convert")
    return Quantization(
        "fp8, one scale a row", 8, 0, 32, 0, ("head", *names), config.notes_so_far(), kind="fp8", activations="token"
    )


def _gptq(config: Config, found: Mapping[str, Any]) -> Quantization:
    bits, group = bits_of(config, "bits"), _group(config, "group_size", default=128)
    head = () if found.get("lm_head") else ("head",)
    for key in ("dynamic", "modules_in_block_to_quantize"):
        if config.optional(key):
            config.note(f"{key}, which treats some matrices otherwise: all are counted in {bits} bits")
    said = f"GPTQ int{bits}, {f'groups of {group}' if group else 'one scale a row'}"
    return Quantization(said, bits, group, 16, bits, head, config.notes_so_far())


def _awq(config: Config, found: Mapping[str, Any]) -> Quantization:
    bits = bits_of(config, "bits", "w_bit", default=4)
    group = _group(config, "group_size", "q_group_size", default=128)
    names = skipped(config, "modules_to_not_convert")
    zero = bits if found.get("zero_point", True) else 0
    said = f"AWQ int{bits}, {f'groups of {group}' if group else 'one scale a row'}"
    return Quantization(said, bits, group, 16, zero, ("head", *names), config.notes_so_far())


def _bitsandbytes(config: Config, found: Mapping[str, Any]) -> Quantization:
    names = skipped(config, "llm_int8_skip_modules")
    if found.get("load_in_4bit", found.get("_load_in_4bit")):
        kind = found.get("bnb_4bit_quant_type", "fp4")
        if kind not in ("nf4", "fp4"):
            raise config.refuse(f"'bnb_4bit_quant_type' is {kind!r}, expected nf4 or fp4")
        scale = 8 if found.get("bnb_4bit_use_double_quant") else 32
        return Quantization(
            f"{kind}, blocks of 64", 4, 64, scale, 0, ("head", *names), config.notes_so_far(), kind="nf4"
        )
    if found.get("llm_int8_threshold", 6.0):
        config.note("llm_int8_threshold: columns of outliers that are multiplied in 16 bits, timed as the others")
    return Quantization(
        "int8, one scale a row", 8, 0, 32, 0, ("head", *names), config.notes_so_far(), activations="token"
    )


def _mxfp4(config: Config, _: Mapping[str, Any]) -> Quantization:
    names = skipped(config, "modules_to_not_convert")
    return Quantization("mxfp4, blocks of 32", 4, 32, 8, 0, ("head", *names), config.notes_so_far(), kind="fp4")


def _modelopt(config: Config, found: Mapping[str, Any]) -> Quantization:
    inner = found.get("quantization", found)
    if not isinstance(inner, dict):
        raise config.refuse(f"'quantization' is {inner!r}, expected an object")
    if inner.get("config_groups"):
        return compressed(Config(config.path, inner), inner)
    of_inner = Config(config.path, inner)
    kind = str(inner.get("quant_algo", "")).upper()
    head = ("head", *skipped(of_inner, "exclude_modules", "ignore"))
    notes = of_inner.notes_so_far()
    if kind == "FP8":
        return Quantization(
            "fp8, one scale a matrix", 8, 0, 32, 0, head, notes, kind="fp8", activations="tensor", scale_rows=-1
        )
    if kind in ("NVFP4", "NVFP4_AWQ", "W4A16_NVFP4"):
        return Quantization("nvfp4, blocks of 16", 4, 16, 8, 0, head, notes, kind="fp4")
    if kind in ("W4A16_AWQ", "INT4_AWQ"):
        group = of_inner.integer("group_size", 128)
        return Quantization(f"int4, groups of {group}", 4, group, 16, 0, head, notes)
    raise config.refuse(f"'quant_algo' is {kind!r}, expected FP8, NVFP4 or W4A16_AWQ")


METHODS: Mapping[str, Callable[[Config, Mapping[str, Any]], Quantization]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "gptq": _gptq,
    "gptq_marlin": _gptq,
    "auto-round": _gptq,
    "awq": _awq,
    "awq_marlin": _awq,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "compressed-tensors": compressed,
    "torchao": torchao,
    "quark": quark,
}
"""Methods that are known, as ``quant_method`` names them."""
