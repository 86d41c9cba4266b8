"""Methods of quantisation that describe a scheme for weights and one for activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.models.huggingface.keys import Config
from controller.models.huggingface.skipped import skipped
from controller.models.quantization import Quantization

_STRATEGIES = ("tensor", "channel", "group", "tensor_group", "block", "token")


def compressed(config: Config, found: Mapping[str, Any]) -> Quantization:
    """``compressed-tensors``: groups of matrices with a scheme each, of which one for all is supported."""
    groups = found.get("config_groups")
    each = [one for one in groups.values() if isinstance(one, dict)] if isinstance(groups, dict) else []
    config.optional("config_groups")
    weights = [one["weights"] for one in each if isinstance(one.get("weights"), dict)]
    inputs = [one.get("input_activations") for one in each]
    if not weights or any(one != weights[0] for one in weights) or any(one != inputs[0] for one in inputs):
        raise config.refuse("'config_groups' has no weights, or different ones; one scheme for all layers is supported")
    scheme = Config(config.path, weights[0])
    bits = _bits(scheme)
    floating = scheme.optional("type") == "float"
    strategy = scheme.optional("strategy") or "tensor"
    if strategy not in _STRATEGIES:
        raise config.refuse(f"'strategy' is {strategy!r}, expected one of {', '.join(_STRATEGIES)}")
    block = scheme.optional("block_structure")
    group = scheme.integer("group_size") if strategy in ("group", "tensor_group") else 0
    rows = -1 if strategy == "tensor" else 0
    scale = 16
    if strategy == "block":
        rows, group = _block(config, block)
        scale = 32
    if floating and bits == 4:
        scale = 8
    zero = 0 if scheme.optional("symmetric") in (None, True) else bits
    kind = f"{'fp' if floating else 'int'}{bits}"
    said = f"compressed-tensors {kind}, {f'groups of {group}' if group else f'scales by {strategy}'}"
    names = skipped(config, "ignore")
    config.optional("format")
    return Quantization(
        said, bits, group, scale, zero, names, config.notes_so_far(), kind=_kind(kind),
        activations=_activations(config, inputs[0], bits), scale_rows=rows,
    )  # fmt: skip


def torchao(config: Config, found: Mapping[str, Any]) -> Quantization:
    """``torchao``: one class with its settings."""
    quant = config.optional("quant_type")
    settings = quant.get("default", quant) if isinstance(quant, dict) else {"_type": quant}
    name = str(settings.get("_type", "")).lower().replace("_", "")
    data = settings.get("_data") or found.get("quant_type_kwargs") or {}
    names = ("head", *skipped(config, "modules_to_not_convert"))
    notes = config.notes_so_far()
    if "int4weightonly" in name:
        group = int(data.get("group_size", 128))
        return Quantization(f"torchao int4, groups of {group}", 4, group, 16, 16, names, notes)
    if "int8weightonly" in name:
        return Quantization("torchao int8, one scale a row", 8, 0, 16, 0, names, notes)
    if "int8dynamicactivationint8weight" in name:
        return Quantization("torchao int8, one scale a row", 8, 0, 16, 0, names, notes, activations="token")
    if "float8weightonly" in name:
        return Quantization("torchao fp8, one scale a row", 8, 0, 32, 0, names, notes, kind="fp8")
    if "float8" in name:
        return Quantization("torchao fp8, one scale a row", 8, 0, 32, 0, names, notes, kind="fp8", activations="token")
    raise config.refuse(
        f"'quant_type' is {settings.get('_type')!r}, expected one with Int4WeightOnly, Int8WeightOnly, "
        f"Int8DynamicActivationInt8Weight, Float8WeightOnly or Float8DynamicActivationFloat8Weight"
    )


def quark(config: Config, found: Mapping[str, Any]) -> Quantization:
    """``quark`` of AMD: one scheme for all layers."""
    for key in ("layer_quant_config", "layer_type_quant_config"):
        if config.optional(key):
            config.note(f"{key}, which treats some matrices otherwise: all are counted alike")
    config.optional("export"), config.optional("algo_config"), config.optional("softmax_quant_spec")
    config.optional("quant_mode"), config.optional("kv_cache_quant_config"), config.optional("kv_cache_group")
    scheme = config.mapping("global_quant_config") or {}
    weight, inputs = scheme.get("weight"), scheme.get("input_tensors")
    if isinstance(weight, list):
        weight = weight[0] if weight else None
    if not isinstance(weight, dict):
        raise config.refuse("'global_quant_config' has no weight; take the file as the model's publisher wrote it")
    kind = str(weight.get("dtype", "")).lower()
    per = str(weight.get("qscheme", "per_tensor"))
    names = ("head", *skipped(config, "exclude"))
    activations = "" if not isinstance(inputs, dict) else "token" if inputs.get("is_dynamic") else "tensor"
    notes = config.notes_so_far()
    if kind.startswith("fp8"):
        rows = -1 if per == "per_tensor" else 0
        return Quantization(
            f"quark fp8, {per}", 8, 0, 32, 0, names, notes, kind="fp8", activations=activations, scale_rows=rows
        )
    if kind == "fp4":
        return Quantization("quark mxfp4, blocks of 32", 4, 32, 8, 0, names, notes, kind="fp4")
    if kind in ("int4", "uint4"):
        group = int(weight.get("group_size") or 128)
        return Quantization(f"quark int4, groups of {group}", 4, group, 16, 4, names, notes)
    if kind == "int8":
        return Quantization(f"quark int8, {per}", 8, 0, 16, 0, names, notes, activations=activations)
    raise config.refuse(f"'global_quant_config' has weights in {kind!r}, expected fp8, fp4, int4, uint4 or int8")


def _bits(scheme: Config) -> int:
    bits = scheme.integer("num_bits")
    if bits not in (2, 3, 4, 8):
        raise scheme.refuse(f"'num_bits' is {bits}, expected 2, 3, 4 or 8 bits")
    return bits


def _kind(name: str) -> str:
    return {"fp8": "fp8", "fp4": "fp4"}.get(name, "int")


def _block(config: Config, block: object) -> tuple[int, int]:
    """Rows and columns that share a scale."""
    sizes = [int(part) for part in block.split("x")] if isinstance(block, str) else block
    if not isinstance(sizes, list) or len(sizes) != 2 or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise config.refuse(f"'block_structure' is {block!r}, expected two whole numbers")
    return sizes[0], sizes[1]


def _activations(config: Config, inputs: object, bits: int) -> str:
    """How activations are quantised before the product; "" where they are not, or not to 8 bits."""
    if not isinstance(inputs, dict) or not inputs:
        return ""
    if inputs.get("num_bits") != 8 or bits != 8:
        config.note(
            f"input_activations in {inputs.get('num_bits')!r} bits beside weights in {bits}: products timed in 16 bits"
        )
        return ""
    strategy = inputs.get("strategy") or "tensor"
    if strategy in ("group", "block"):
        return "block"
    return "tensor" if strategy == "tensor" and not inputs.get("dynamic") else "token"
