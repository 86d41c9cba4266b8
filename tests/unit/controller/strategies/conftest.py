"""Small models of every kind, and strategies run in this process."""

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest

from controller.execute.local import LocalRun
from controller.models.catalog import load_model
from controller.models.reference import generate_reference
from controller.models.scenario import Scenario
from controller.models.weights import SeededWeights
from controller.topology.loader import load_topology

TINY = load_model("tiny-opt")
LLAMA = replace(
    load_model("llama-2-7b"), name="tiny-llama", hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16,
    intermediate=96, vocab=200, max_positions=160, attention_scale=0.25,
)  # fmt: skip
GEMMA = replace(
    load_model("gemma-3-270m"), name="tiny-gemma", hidden=48, layers=3, heads=4, kv_heads=1, head_dim=16,
    intermediate=96, vocab=200, max_positions=160, embedding_scale=48**0.5, attention_scale=0.25,
    sliding_window=24, sliding_layers=(True, False, True),
)  # fmt: skip
MODELS = {shape.name: shape for shape in (TINY, LLAMA, GEMMA)}


@lru_cache(maxsize=32)
def _reference(model: str, batch: int, prompt: int, output: int):
    weights = SeededWeights(MODELS[model], 0)
    return generate_reference(weights, _prompt(model, batch, prompt), output, ())


def _prompt(model: str, batch: int, prompt: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, MODELS[model].vocab, (batch, prompt))


@pytest.fixture(scope="module")
def local():
    """``generate(strategy, model, ...)`` in this process, and ``check`` of it against the plain decoder."""

    def generate(
        strategy, model: str, topology: str, *overrides: str, batch=2, prompt=9, output=8, options=None, backwards=False
    ):
        scenario = Scenario(
            load_topology(topology, overrides), MODELS[model], batch, prompt, output, "fp32",
            SeededWeights(MODELS[model], 0), _prompt(model, batch, prompt), options=options or {},
        )  # fmt: skip
        run = LocalRun(scenario.topology, blank=np.nan, backwards=backwards)
        assert run.run([lambda view: strategy(view, scenario)]).ok
        return run.outcome

    def check(outcome, model: str, batch=2, prompt=9, output=8, **_) -> None:
        """Every token is that of the plain decoder, and every logit close to it."""
        expected = _reference(model, batch, prompt, output)
        np.testing.assert_allclose(np.stack(outcome.result.logits), expected.logits, atol=1e-3)
        assert np.asarray(outcome.result.tokens).T.tolist() == [list(row) for row in expected.tokens]

    return SimpleNamespace(generate=generate, check=check, models=MODELS)
