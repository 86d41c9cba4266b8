"""Small models of every kind, and strategies run in this process."""

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from controller.execute.local import LocalRun
from controller.models.catalog import load_model
from controller.models.reference import generate_reference
from controller.models.scenario import Scenario
from controller.models.training_reference import train_reference
from controller.models.training_scenario import TrainingScenario
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
SMALL = replace(
    load_model("gpt-30m"), name="gpt-small", hidden=32, layers=5, heads=4, kv_heads=4, head_dim=8, intermediate=128,
    vocab=160, max_positions=32, attention_scale=8**-0.5,
)  # fmt: skip
STEPS, BATCH, SEQ = 3, 2, 12
MIXTURES = tuple(map(load_model, ("tiny-mixtral", "tiny-deepseek", "tiny-gpt-oss")))
MODELS = {shape.name: shape for shape in (TINY, LLAMA, GEMMA, *MIXTURES)}


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


TRAINED = {shape.name: shape for shape in (SMALL, LLAMA)}


@lru_cache(maxsize=8)
def _trained(gpus: int, model: str):
    return train_reference(SeededWeights(TRAINED[model], 0), _drawn(gpus))


def _drawn(gpus: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, SMALL.vocab, (STEPS, gpus, BATCH, SEQ + 1), np.int64)


@pytest.fixture(scope="module")
def small() -> SimpleNamespace:
    """``train(strategy, ...)`` in this process; it checks losses and parameters against plain torch."""

    def scenario(
        *overrides: str, gpus: int = 1, ranks: int = 1, live: bool = True, model: str = SMALL.name, **options: str
    ) -> TrainingScenario:
        topology = load_topology("server_4090", (f"gpu.count={gpus * ranks}", *overrides))
        weights, tokens = (SeededWeights(TRAINED[model], 0), _drawn(gpus)) if live else (None, None)
        return TrainingScenario(topology, TRAINED[model], BATCH, SEQ, STEPS, "fp32", weights, tokens, options)

    def train(
        strategy, *overrides: str, gpus: int = 1, backwards: bool = True, model: str = SMALL.name, **options: Any
    ):
        given = scenario(*overrides, gpus=gpus, model=model, **options)
        run = LocalRun(given.topology, blank=np.nan, backwards=backwards)
        assert run.run([lambda view: strategy(view, given)]).ok
        expected = _trained(gpus, model)
        np.testing.assert_allclose(run.outcome.result.losses, expected.losses, rtol=1e-4)
        found = run.outcome.result.parameters
        assert found.keys() == expected.parameters.keys()
        for name, values in expected.parameters.items():
            np.testing.assert_allclose(found[name], values, atol=1.5e-4, err_msg=name)
        assert run.outcome.result.gpus == gpus and run.outcome.result.trained_tokens == STEPS * gpus * BATCH * SEQ
        return run

    return SimpleNamespace(train=train, scenario=scenario, shape=SMALL)
