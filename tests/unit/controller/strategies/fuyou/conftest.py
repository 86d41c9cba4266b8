"""A model small enough to train in this process, and one way to train it."""

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest

from controller.execute.local import LocalRun
from controller.models.catalog import load_model
from controller.models.training_reference import train_reference
from controller.models.training_scenario import TrainingScenario
from controller.models.weights import SeededWeights
from controller.topology.loader import load_topology

SMALL = replace(
    load_model("gpt-30m"), name="gpt-small", hidden=32, layers=5, heads=4, kv_heads=4, head_dim=8, intermediate=128,
    vocab=160, max_positions=32, attention_scale=8**-0.5,
)  # fmt: skip
STEPS, BATCH, SEQ = 3, 2, 12


@lru_cache(maxsize=4)
def _reference(gpus: int):
    return train_reference(SeededWeights(SMALL, 0), _tokens(gpus))


def _tokens(gpus: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, SMALL.vocab, (STEPS, gpus, BATCH, SEQ + 1), np.int64)


@pytest.fixture(scope="module")
def small() -> SimpleNamespace:
    """``train(strategy, ...)`` in this process; it checks losses and parameters against plain torch."""

    def scenario(*overrides: str, gpus: int = 1, live: bool = True, **options: str) -> TrainingScenario:
        topology = load_topology("server_4090", (f"gpu.count={gpus}", *overrides))
        weights, tokens = (SeededWeights(SMALL, 0), _tokens(gpus)) if live else (None, None)
        return TrainingScenario(topology, SMALL, BATCH, SEQ, STEPS, "fp32", weights, tokens, options)

    def train(strategy, *overrides: str, gpus: int = 1, backwards: bool = True, **options: str):
        given = scenario(*overrides, gpus=gpus, **options)
        run = LocalRun(given.topology, blank=np.nan, backwards=backwards)
        assert run.run([lambda view: strategy(view, given)]).ok
        expected = _reference(gpus)
        np.testing.assert_allclose(run.outcome.result.losses, expected.losses, rtol=1e-4)
        found = run.outcome.result.parameters
        assert found.keys() == expected.parameters.keys()
        for name, values in expected.parameters.items():
            np.testing.assert_allclose(found[name], values, atol=1.5e-4, err_msg=name)
        assert run.outcome.result.gpus == gpus and run.outcome.result.trained_tokens == STEPS * gpus * BATCH * SEQ
        return run

    return SimpleNamespace(train=train, scenario=scenario, shape=SMALL)
