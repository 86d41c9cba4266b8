"""The plain training run against the plain decoder, which is compared with transformers, and against finite steps."""

from dataclasses import replace

import numpy as np
import pytest

from controller.models.catalog import load_model
from controller.models.plain import PlainDecoder
from controller.models.training import AdamSettings
from controller.models.training_reference import train_reference
from controller.models.weights import SeededWeights

OPT = load_model("tiny-opt")
LLAMA = replace(
    load_model("llama-2-7b"), name="tiny-llama", hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16,
    intermediate=96, vocab=100, max_positions=128, rope_factor=2.0, attention_scale=0.25,
)  # fmt: skip
MISTRAL = replace(LLAMA, sliding_window=5, sliding_layers=(True, False, True))


@pytest.mark.parametrize("shape", [OPT, LLAMA, MISTRAL], ids=["opt", "llama", "mistral"])
def test_the_loss_is_that_of_the_plain_decoder(shape):
    weights = SeededWeights(shape, 1)
    ids = np.random.default_rng(2).integers(0, shape.vocab, (1, 1, 2, 9))
    decoder, likelihood = PlainDecoder(weights), []
    for stop in range(1, 9):
        logits = decoder.logits(np.ascontiguousarray(ids[0, 0, :, :stop])).astype(np.float64)
        picked = np.take_along_axis(logits, ids[0, 0, :, stop : stop + 1], 1)[:, 0]
        likelihood.append(picked - np.log(np.exp(logits).sum(-1)))
    assert train_reference(weights, ids).losses[0] == pytest.approx(-np.mean(likelihood), rel=1e-5)


def test_the_batches_of_several_gpus_are_one_batch():
    weights = SeededWeights(OPT, 1)
    ids = np.random.default_rng(2).integers(0, OPT.vocab, (2, 3, 2, 9))
    apart, together = train_reference(weights, ids), train_reference(weights, ids.reshape(2, 1, 6, 9))
    assert apart.losses == together.losses
    for name, value in apart.parameters.items():
        np.testing.assert_array_equal(value, together.parameters[name])


def test_weights_are_left_as_they_were_and_settings_are_used():
    weights = SeededWeights(OPT, 1)
    ids = np.random.default_rng(2).integers(0, OPT.vocab, (2, 1, 2, 9))
    still = train_reference(weights, ids, AdamSettings(lr=0.0))
    np.testing.assert_array_equal(still.parameters["embed"], SeededWeights(OPT, 1).tensor("embed"))
    moved = train_reference(weights, ids, AdamSettings(lr=0.5)).parameters["final_norm.bias"]
    assert np.abs(moved - weights.tensor("final_norm.bias")).max() == pytest.approx(1.0, abs=0.2)
