"""A model small enough to train in this process, and one way to train it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

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


def _local_run():
    name = "local_run"
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(__file__).parents[1] / f"{name}.py")
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def _run_class():
    """The run of this process, into which a step's tokens arrive."""

    class Training(_local_run().LocalRun):
        def write(self, buffer, content) -> None:
            self.machine._memory.pop(buffer)
            self.machine.place(buffer, content)

    return Training


@pytest.fixture(scope="module")
def small() -> Iterator[SimpleNamespace]:
    """``train(strategy, ...)`` in this process; it checks losses and parameters against plain torch."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _local_run()._interpreter().DTYPES.setdefault("int8", torch.int8)

    def scenario(*overrides: str, gpus: int = 1, live: bool = True, **options: str) -> TrainingScenario:
        topology = load_topology("server_4090", (f"gpu.count={gpus}", *overrides))
        weights, tokens = (SeededWeights(SMALL, 0), _tokens(gpus)) if live else (None, None)
        return TrainingScenario(topology, SMALL, BATCH, SEQ, STEPS, "fp32", weights, tokens, options)

    def train(strategy, *overrides: str, gpus: int = 1, backwards: bool = True, **options: str):
        given = scenario(*overrides, gpus=gpus, **options)
        run = _run_class()(given.topology, backwards=backwards)
        run.drive(lambda view: strategy(view, given))
        expected = _reference(gpus)
        np.testing.assert_allclose(run.reports["losses"], expected.losses, rtol=1e-4)
        found = run.reports["parameters"]
        assert found.keys() == expected.parameters.keys()
        for name, values in expected.parameters.items():
            np.testing.assert_allclose(found[name], values, atol=1.5e-4, err_msg=name)
        assert run.reports["gpus"] == gpus and run.reports["trained_tokens"] == STEPS * gpus * BATCH * SEQ
        return run

    yield SimpleNamespace(train=train, scenario=scenario, shape=SMALL)
    torch.set_num_threads(threads)
