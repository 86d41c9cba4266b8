"""The plain decoder against transformers, which none of us wrote, and where a text ends."""

from dataclasses import replace

import numpy as np
import pytest

from controller.models.catalog import load_model
from controller.models.checkpoint import checkpoint_config, checkpoint_names
from controller.models.reference import generate_reference, until_end
from controller.models.weights import SeededWeights

TINY = load_model("tiny-opt")
LLAMA = replace(
    load_model("llama-2-7b"), name="tiny-llama", hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16,
    intermediate=96, vocab=200, max_positions=128, rope_factor=2.0, attention_scale=0.25,
)  # fmt: skip
GEMMA = replace(
    load_model("gemma-3-270m"), name="tiny-gemma", hidden=48, layers=3, heads=4, kv_heads=1, head_dim=16,
    intermediate=96, vocab=200, max_positions=128, embedding_scale=48**0.5, attention_scale=0.25,
    sliding_window=5, sliding_layers=(True, False, True),
)  # fmt: skip


def transformers_model(weights):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    keys = checkpoint_config(weights.shape)
    config = transformers.AutoConfig.for_model(**keys)
    model = getattr(transformers, keys["architectures"][0])(config).float().eval()
    state = {theirs: torch.tensor(weights.tensor(ours)) for ours, theirs in checkpoint_names(weights.shape).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    return model


@pytest.mark.models
@pytest.mark.parametrize("shape", [TINY, LLAMA, GEMMA], ids=lambda shape: shape.name)
def test_the_plain_decoder_gives_the_logits_of_transformers(shape):
    weights = SeededWeights(shape, seed=1)
    model = transformers_model(weights)
    import torch

    prompt = np.random.default_rng(0).integers(0, shape.vocab, (3, 9))
    ours = generate_reference(weights, prompt, 12, ())
    text = np.concatenate([prompt, np.array(ours.tokens)], axis=1)
    with torch.no_grad():
        theirs = model(torch.from_numpy(text)).logits.numpy()
    np.testing.assert_allclose(ours.logits.swapaxes(0, 1), theirs[:, 8:-1], atol=2e-4)
    assert theirs[:, 8:-1].argmax(-1).tolist() == [list(row) for row in ours.tokens]


def test_rows_of_a_batch_do_not_see_each_other():
    weights = SeededWeights(TINY)
    prompt = np.random.default_rng(0).integers(0, TINY.vocab, (3, 5))
    together = generate_reference(weights, prompt, 6, ())
    alone = [generate_reference(weights, row, 6, ()).tokens[0] for row in prompt]
    assert list(together.tokens) == alone
    assert together.logits.shape == (6, 3, TINY.vocab)


def test_a_row_ends_with_its_first_end_token_and_the_run_with_the_last_row():
    weights = SeededWeights(TINY)
    prompt = np.random.default_rng(0).integers(0, TINY.vocab, (2, 5))
    free = generate_reference(weights, prompt, 8, ()).tokens
    end = free[0][2]
    ended = generate_reference(weights, prompt, 8, (end,))
    assert ended.tokens[0] == until_end(free[0], (end,))
    assert ended.tokens[0][-1] == end
    assert len(ended.logits) == max(len(row) for row in ended.tokens)
    assert len(generate_reference(weights, prompt[:1], 8, (end,)).logits) == len(ended.tokens[0])


def test_the_end_of_a_text_is_kept_and_what_follows_is_not():
    assert until_end([5, 1, 7], (1, 9)) == (5, 1)
    assert until_end([5, 7], (1,)) == (5, 7)
    assert until_end([], (1,)) == ()
