"""Rotations scaled for longer contexts: the frequencies of transformers, and what is refused."""

from __future__ import annotations

import json

import pytest

from node.errors import BadAttribute
from node.hardware.rope_scaling import scaled_frequencies

LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
OPEN_YARN = {**YARN, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}
LONGROPE = {
    "rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 128,
    "short_factor": [1.0 + 0.1 * i for i in range(8)], "long_factor": [2.0 + i for i in range(8)],
}  # fmt: skip


@pytest.mark.parametrize("scaling", [LLAMA3, YARN, OPEN_YARN, LONGROPE], ids=lambda each: each["rope_type"])
@pytest.mark.parametrize("tokens", [64, 300])
def test_frequencies_are_those_of_transformers(scaling, tokens):
    transformers = pytest.importorskip("transformers")
    modeling = pytest.importorskip("transformers.modeling_rope_utils")
    config = transformers.LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=512,
        rope_parameters={**scaling, "rope_theta": 1e4},
    )
    expected, weight = modeling.ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, "cpu", seq_len=tokens)
    found, ours = scaled_frequencies(16, 1e4, json.dumps(scaling), tokens)
    assert found == pytest.approx(expected.tolist(), rel=1e-5)
    assert ours == pytest.approx(weight)


def test_llama3_keeps_fast_pairs_and_slows_slow_ones_by_its_factor():
    plain, _ = scaled_frequencies(128, 500_000.0, "", 1)
    found, weight = scaled_frequencies(128, 500_000.0, json.dumps(LLAMA3), 1)
    assert found[0] == plain[0] and found[-1] == pytest.approx(plain[-1] / 8) and weight == 1.0


@pytest.mark.parametrize("scaling", ["{", "{}", '{"rope_type": "other"}', '{"rope_type": "yarn"}'])
def test_a_text_that_says_no_scaling_is_refused(scaling):
    with pytest.raises(BadAttribute, match="scaling is"):
        scaled_frequencies(16, 1e4, scaling, 1)
