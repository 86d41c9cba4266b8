"""Reads a Hugging Face ``config.json`` into a shape; the table of families."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from controller.errors import UnknownModel
from controller.models.huggingface.capacity import read_capacity
from controller.models.huggingface.cohere import read_cohere, read_cohere2
from controller.models.huggingface.deepseek import read_deepseek_v2, read_deepseek_v3
from controller.models.huggingface.falcon import read_falcon
from controller.models.huggingface.gemma import read_gemma, read_gemma2, read_gemma3, read_gemma3_text
from controller.models.huggingface.glm import read_glm, read_glm4, read_smollm3
from controller.models.huggingface.gpt import read_gpt2, read_gpt_neox
from controller.models.huggingface.harmless import CHANGE_VALUES, HARMLESS
from controller.models.huggingface.keys import Config
from controller.models.huggingface.layer_norm_models import read_phi, read_stablelm, read_starcoder2
from controller.models.huggingface.llama import read_granite, read_llama, read_mistral, read_phi3
from controller.models.huggingface.llama4 import read_llama4_text
from controller.models.huggingface.mixtures import read_gpt_oss, read_mixtral
from controller.models.huggingface.more_mixtures import read_glm4_moe, read_granitemoe, read_olmoe, read_phimoe
from controller.models.huggingface.nested import read_text_part
from controller.models.huggingface.olmo import read_olmo2, read_olmo3
from controller.models.huggingface.opt import read_opt
from controller.models.huggingface.quantised import read_quantization
from controller.models.huggingface.qwen import read_qwen2, read_qwen3
from controller.models.huggingface.qwen_moe import read_qwen2_moe, read_qwen3_moe
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
    "qwen2_moe": read_qwen2_moe,
    "olmoe": read_olmoe,
    "granitemoe": read_granitemoe,
    "granitemoeshared": read_granitemoe,
    "phimoe": read_phimoe,
    "glm4_moe": read_glm4_moe,
    "llama4_text": read_llama4_text,
    "gemma": read_gemma,
    "glm": read_glm,
    "glm4": read_glm4,
    "smollm3": read_smollm3,
    "olmo3": read_olmo3,
    "cohere": read_cohere,
    "cohere2": read_cohere2,
    "stablelm": read_stablelm,
    "starcoder2": read_starcoder2,
    "phi": read_phi,
    "ministral": read_mistral,
    "ministral3": read_mistral,
    "qwen2_5_vl_text": read_qwen2,
    "qwen2_vl_text": read_qwen2,
    "qwen3_vl_text": read_qwen3,
    "qwen3_vl_moe_text": read_qwen3_moe,
}
"""Model types that can be read."""
NESTED: Mapping[str, str] = {
    "mistral3": "mistral", "llava": "llama", "llava_next": "llama", "pixtral": "mistral", "llama4": "llama4_text",
    "qwen2_vl": "qwen2_vl_text", "qwen2_5_vl": "qwen2_5_vl_text", "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text", "mllama": "", "gemma3n": "",
}  # fmt: skip
"""Multimodal model types -> that of their text part where it does not say it; "" where its layers are none of these."""


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
    shape = read_capacity(config, _reader(config, model_type)(config))
    quantization = read_quantization(config)
    kv_dtype = "" if quantization is None else quantization.kv_dtype
    left = [key for key in config.left_over() if key not in HARMLESS]
    wrong = [f"key {key!r}, which changes values" for key in left if key in CHANGE_VALUES]
    without = dict.fromkeys([*config.notes, *wrong, *(() if quantization is None else quantization.notes)])
    unread = [f"key {key!r} of the configuration is not read" for key in left if key not in CHANGE_VALUES]
    return replace(
        shape,
        rope_scaling=next((each.rope_scaling for each in (config, *config.nested) if each.rope_scaling), ""),
        quantization=quantization,
        kv_dtype=kv_dtype,
        notes=(*without, *unread),
        without_values=tuple(without),
    )


def _reader(config: Config, model_type: object) -> Callable[[Config], ModelShape]:
    """The reader of a model type, of its text part where the model has others.

    Raises:
        UnknownModel: no reader.
    """
    if isinstance(model_type, str) and model_type in READERS:
        return READERS[model_type]
    if isinstance(model_type, str) and NESTED.get(model_type):
        text = config.mapping("text_config")
        if text is None:  # older files have the keys of the text part beside those of the tower
            return READERS[NESTED[model_type]]
        inner = Config(config.path, text).optional("model_type") or NESTED[model_type]
        reader = _reader(config, inner)
        return lambda whole: read_text_part(whole, reader)
    raise config.refuse(
        f"model_type is {model_type!r}; supported are {', '.join((*READERS, *filter(NESTED.get, NESTED)))}"
    )


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
