"""Reads a Hugging Face ``config.json`` into a shape; the table of families."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.errors import UnknownModel
from controller.models.huggingface.deepseek import read_deepseek_v2, read_deepseek_v3
from controller.models.huggingface.falcon import read_falcon
from controller.models.huggingface.gemma import read_gemma2, read_gemma3, read_gemma3_text
from controller.models.huggingface.gpt import read_gpt2, read_gpt_neox
from controller.models.huggingface.harmless import CHANGE_VALUES, HARMLESS
from controller.models.huggingface.keys import Config
from controller.models.huggingface.llama import read_granite, read_llama, read_mistral, read_phi3
from controller.models.huggingface.mixtures import read_gpt_oss, read_mixtral, read_qwen3_moe
from controller.models.huggingface.olmo import read_olmo2
from controller.models.huggingface.opt import read_opt
from controller.models.huggingface.quantised import read_quantization
from controller.models.huggingface.qwen import read_qwen2, read_qwen3
from controller.models.huggingface.refused import refuse_other_layers
from controller.models.shape import ModelShape

READERS: Mapping[str, Callable[[Config], ModelShape]] = {
    "opt": read_opt,
    "gpt2": read_gpt2,
    "gpt_neox": read_gpt_neox,
    "llama": read_llama,
    "mistral": read_mistral,
    "granite": read_granite,
    "phi3": read_phi3,
    "qwen2": read_qwen2,
    "qwen3": read_qwen3,
    "gemma2": read_gemma2,
    "gemma3_text": read_gemma3_text,
    "gemma3": read_gemma3,
    "falcon": read_falcon,
    "RefinedWeb": read_falcon,
    "RefinedWebModel": read_falcon,
    "olmo2": read_olmo2,
    "mixtral": read_mixtral,
    "qwen3_moe": read_qwen3_moe,
    "gpt_oss": read_gpt_oss,
    "deepseek_v2": read_deepseek_v2,
    "deepseek_v3": read_deepseek_v3,
}
"""Model types that can be read."""


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
    config = Config(path, _with_quantisation_beside(path, keys))
    model_type = keys.get("model_type")
    refuse_other_layers(config, model_type)
    reader = READERS.get(model_type) if isinstance(model_type, str) else None
    if reader is None:
        raise config.refuse(f"model_type is {model_type!r}; supported are {', '.join(READERS)}")
    shape = reader(config)
    quantization = read_quantization(config)
    left = [key for key in config.left_over() if key not in HARMLESS]
    wrong = [f"key {key!r}, which changes values" for key in left if key in CHANGE_VALUES]
    without = dict.fromkeys([*config.notes, *wrong, *(() if quantization is None else quantization.notes)])
    unread = [f"key {key!r} of the configuration is not read" for key in left if key not in CHANGE_VALUES]
    return replace(shape, quantization=quantization, notes=(*without, *unread), without_values=tuple(without))


def _with_quantisation_beside(path: Path, keys: dict[str, Any]) -> dict[str, Any]:
    """The keys with what ModelOpt writes into a file of its own beside them, ``hf_quant_config.json``."""
    beside = path.with_name("hf_quant_config.json")
    if "quantization_config" in keys or path.name != "config.json" or not beside.is_file():
        return keys
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))["quantization"]
        return {**keys, "quantization_config": {**found, "quant_method": "modelopt"}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownModel(
            f"{beside} has no object 'quantization' ({error}); take the file as it was written"
        ) from error
