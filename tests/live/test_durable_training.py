"""Durable training whose controller, or one of whose drives, is killed in the middle of a commit loses no state."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from controller.launch import launch
from tests.live.durable_training import STRUCK, after_every_commit, model_of, states_on

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
REPOSITORY = Path(__file__).resolve().parents[2]
GPT = {
    "model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 300,
    "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "torch_dtype": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "config.json"
    path.write_text(json.dumps(GPT))
    return str(path)


@pytest.fixture(scope="module")
def committed(config: str, tmp_path_factory: pytest.TempPathFactory) -> list[list[np.ndarray]]:
    """The states after every commit of a run that nothing disturbs."""
    found: list[list[np.ndarray]] = []
    after_every_commit(
        config, tmp_path_factory.mktemp("flash"), lambda cluster, model: found.append(states_on(cluster, model))
    )
    assert len(found) > STRUCK
    for earlier, later in pairwise(found):
        assert not all(np.array_equal(a, b) for a, b in zip(earlier, later, strict=True)), "a commit changes nothing"
    return found


@pytest.mark.parametrize(
    ("victim", "messages", "is_there"),
    [
        ("controller", 1, False),
        ("controller", 2, True),
        ("controller", 3, True),
        ("ssd0", 1, True),  # it had prepared, and so does the other, so that the step is whole
        ("ssd1", 1, False),
        ("ssd1", 3, True),
    ],
)
def test_every_state_is_that_of_one_whole_step(
    config: str, committed: list[list[np.ndarray]], tmp_path: Path, victim: str, messages: int, is_there: bool
) -> None:
    words = [sys.executable, "-m", "tests.live.durable_training", tmp_path, config, victim, messages]
    run = subprocess.run(list(map(str, words)), cwd=REPOSITORY, capture_output=True, text=True)
    if victim == "controller":
        assert run.returncode == -9, run.stderr
    else:
        assert run.returncode == 1, run.stderr
        assert victim in run.stderr.strip().splitlines()[-1], run.stderr
    model = model_of(config)
    with launch(model.scenario.topology, flash_folder=tmp_path) as cluster:
        found = states_on(cluster, model)
    # Once all drives have prepared, the step is there; before, nothing of it is.
    whole = committed[STRUCK - 1 if is_there else STRUCK - 2]
    for number, (states, expected) in enumerate(zip(found, whole, strict=True)):
        assert np.array_equal(states, expected), f"states of sub-group {number}"
