"""Parameters of every configuration against the model that transformers builds of it, on no device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.models.catalog import load_model

FILES = sorted((Path(__file__).parents[3] / "fixtures" / "models").glob("*.json"))
VALUES_ONLY = ("quantization_config", "rope_scaling")
"""Keys that change no shape; the fixtures shorten the lists in them, which transformers refuses."""


def built(keys: dict[str, Any]) -> Any:
    """The text model of a configuration, without memory."""
    import torch
    import transformers

    text = keys.get("text_config")
    whole = keys if text is None else {"model_type": "gemma3_text", **text}
    settings = {key: value for key, value in whole.items() if key not in ("model_type", *VALUES_ONLY)}
    config = transformers.AutoConfig.for_model(whole["model_type"], **settings)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parameters_are_as_many_as_transformers_makes(path):
    pytest.importorskip("transformers")
    model = built(json.loads(path.read_text()))
    # What corrects the choice of DeepSeek V3's gate is a weight in checkpoints and a buffer in transformers.
    corrections = sum(values.numel() for name, values in model.named_buffers() if "correction_bias" in name)
    assert load_model(str(path)).parameter_count == sum(each.numel() for each in model.parameters()) + corrections
