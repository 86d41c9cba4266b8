"""Multimodal models: their text part is a family of its own, in an object of the file; towers are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.models.huggingface.keys import Config
from controller.models.shape import ModelShape

Reader = Callable[[Config], ModelShape]
OUTER = ("torch_dtype", "dtype", "bos_token_id", "eos_token_id", "tie_word_embeddings")
"""Keys around the text part that hold for it where it does not say them."""
TOWERS = ("vision_config", "audio_config")
_OF_TOWERS = (
    "mm_tokens_per_image", "boi_token_index", "eoi_token_index", "boi_token_id", "eoi_token_id", "image_token_index",
    "image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id", "vision_feature_layer",
    "vision_feature_select_strategy", "multimodal_projector_bias", "projector_hidden_act", "spatial_merge_size",
    "image_seq_length", "audio_token_id", "boa_token_id", "eoa_token_id", "image_grid_pinpoints",
)  # fmt: skip


def read_text_part(config: Config, reader: Reader, defaults: Mapping[str, object] | None = None) -> ModelShape:
    """The text part of a multimodal model.

    Args:
        config: of the whole file.
        reader: of the family of the text part.
        defaults: of its configuration class, which files rely on.
    """
    text = config.mapping("text_config")
    if text is None:
        raise config.refuse("'text_config' is missing; take the file as the model's publisher wrote it")
    outer = {key: value for key in OUTER if (value := config.optional(key)) is not None}
    said = {**(defaults or {}), **{key: value for key, value in text.items() if value is not None or not defaults}}
    nested = Config(config.path, said, outer)
    for tower in TOWERS:
        if config.optional(tower) is not None:
            nested.note(f"{tower}: the text part alone is run, without the tower before it")
    for key in _OF_TOWERS:
        config.optional(key)
    shape = reader(nested)
    if nested.optional("quantization_config") is not None and config.optional("quantization_config") is None:
        config.adopt("quantization_config", nested.optional("quantization_config"))
    config.notes += nested.notes
    config.nested.append(nested)
    return shape
