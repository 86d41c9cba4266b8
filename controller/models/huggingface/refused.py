"""Families whose layers have parts that no shape expresses: refused with what they need."""

from __future__ import annotations

from collections.abc import Mapping

from controller.models.huggingface.keys import Config

EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
LATENT_KEYS = ("kv_lora_rank",)
FAMILIES: Mapping[str, str] = {
    "jamba": "a mixture of experts and state-space layers",
    "gemma3n": "a model of nested layers",
    "mllama": "a model with layers that attend to images",
    "dbrx": "a mixture of experts",
}


MIXTURES = (
    "mixtral", "qwen3_moe", "gpt_oss", "deepseek_v2", "deepseek_v3", "qwen2_moe", "olmoe", "granitemoe",
    "granitemoeshared", "phimoe", "glm4_moe", "llama4_text",
)  # fmt: skip
"""Families whose readers take experts."""


def refuse_other_layers(config: Config, model_type: object) -> None:
    """Refuses other mixtures of experts, and experts or latents in a family that has none.

    Raises:
        UnknownModel: such a model, with what it is.
    """
    if isinstance(model_type, str) and model_type in FAMILIES:
        raise config.refuse(
            f"'model_type' is {model_type!r}, {FAMILIES[model_type]}, which is not read from a file; choose a dense "
            f"model, or one of {', '.join(MIXTURES)}"
        )
    if model_type in MIXTURES:
        return
    for key in EXPERT_KEYS:
        if config.optional(key) is not None and config.integer(key) > 1:
            raise config.refuse(f"{key!r} is {config.optional(key)!r}; mixtures of experts are not supported")
    for key in LATENT_KEYS:
        if config.optional(key) is not None:
            raise config.refuse(f"{key!r} is {config.optional(key)!r}; latent attention is not read from a file")
