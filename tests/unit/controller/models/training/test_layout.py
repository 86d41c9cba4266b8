"""Flat parts of a model: nothing lost, nothing twice, neighbours where one product takes them together."""

from math import prod

import numpy as np
import pytest

from controller.models.catalog import list_models, load_model
from controller.models.shape import weight_shapes
from controller.models.training import FlatLayout, InitialWeights, draw_tokens, layer_layout, parts
from controller.models.weights import SeededWeights
from controller.plan.ops import View

TINY = load_model("tiny-opt")


TRAINED = [shape for shape in list_models() if not shape.parts]


@pytest.mark.parametrize("shape", TRAINED, ids=lambda shape: shape.name)
def test_parts_hold_every_weight_once_without_gaps(shape):
    names = [part.prefix + name for part in parts(shape) for name in part.layout.shapes]
    assert sorted(names) == sorted(weight_shapes(shape)) and len(set(names)) == len(names)
    assert sum(part.layout.elements for part in parts(shape)) == shape.parameter_count
    for layout in (parts(shape)[0].layout, parts(shape)[1].layout, parts(shape)[-1].layout):
        stop = 0
        for name, extents in layout.shapes.items():
            assert layout.starts[name] == stop
            stop += prod(extents)


def test_content_goes_there_and_back():
    weights = SeededWeights(TINY, 1)
    for part in parts(TINY):
        for name, values in part.named(part.content(weights.tensor)).items():
            np.testing.assert_array_equal(values, weights.tensor(name))


def test_q_k_and_v_are_one_matrix_and_one_bias():
    layout, weights = layer_layout(TINY), SeededWeights(TINY)
    part = parts(TINY)[1]
    flat = part.content(weights.tensor)
    for kind in ("weight", "bias"):
        name = f"qkv.{kind}"
        extents = layout.shape_of(name)
        start = layout.starts[name]
        expected = np.concatenate([weights.tensor(f"layers.0.{one}.{kind}") for one in "qkv"])
        np.testing.assert_array_equal(flat[start : start + prod(extents)].reshape(extents), expected)
    assert layout.has("qkv.bias") and not layer_layout(load_model("llama-2-7b")).has("qkv.bias")


def test_views_of_a_buffer_and_of_a_part_of_one():
    layout = layer_layout(TINY)
    buffer = layout.buffer("gpu", "hbm", "slot", "fp16")
    assert buffer.nbytes == layout.nbytes("fp16") == 2 * layout.elements
    view = layout.view(buffer, "o.weight")
    assert view.shape == (64, 64) and view.offset_bytes == 2 * layout.starts["o.weight"]
    inside = View(buffer, 512, (layout.elements,))
    assert layout.view(inside, "o.weight").offset_bytes == 512 + view.offset_bytes


def test_layouts_of_one_shape_are_one_object():
    assert isinstance(layer_layout(TINY), FlatLayout) and layer_layout(TINY) is layer_layout(TINY)


def test_training_starts_from_small_weights_of_the_seed():
    shape = load_model("gpt-30m")
    weights = InitialWeights(shape, 3)
    assert weights.tensor("embed").std() == pytest.approx(0.02, rel=0.02)
    assert weights.tensor("layers.2.down.weight").std() == pytest.approx(0.02 / 12**0.5, rel=0.02)
    assert (weights.tensor("layers.2.attn_norm.weight") == 1).all() and (weights.tensor("layers.2.q.bias") == 0).all()
    np.testing.assert_array_equal(weights.tensor("embed"), InitialWeights(shape, 3).tensor("embed"))
    assert (weights.tensor("embed") != InitialWeights(shape, 4).tensor("embed")).any()
    with pytest.raises(KeyError):
        weights.tensor("head")


def test_tokens_are_of_the_vocabulary_and_few_are_frequent():
    tokens = draw_tokens(TINY, 3, 2, 4, 63, seed=5)
    assert tokens.shape == (3, 2, 4, 64) and tokens.dtype == np.int64
    assert tokens.min() >= 0 and tokens.max() < TINY.vocab
    assert (tokens < TINY.vocab / 8).mean() == pytest.approx(0.5, abs=0.05)
    assert (tokens == draw_tokens(TINY, 3, 2, 4, 63, seed=5)).all()
    assert (tokens != draw_tokens(TINY, 3, 2, 4, 63, seed=6)).any()
