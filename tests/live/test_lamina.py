"""Attention on memory devices, by node processes: tokens of the plain run, over pools and turns of several kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.errors import BadWorkload
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.strategies.table import lookup

pytestmark = pytest.mark.live

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "float32",
}  # fmt: skip


@pytest.fixture
def llama(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    return str(path)


def generated(strategy: str, model: str, models: int, memories: int, options: dict[str, str], batch: int = 3) -> None:
    """Runs live; tokens are those of the plain run, and time and occupancy those of the virtual one."""
    overrides = (f"model.count={models}", f"memory.count={memories}")
    request = RunSpec(
        strategy, model, overrides=overrides, live=True, batch=batch, prompt_tokens=7, output_tokens=9, options=options
    )
    experiment = run_experiment(request)
    found = experiment.comparison
    assert experiment.outcome.ok
    assert (found["tokens_equal"], found["tokens_compared"]) == (9 * batch,) * 2
    assert 0 < found["max_logit_difference"] < 1e-3
    assert len({token for row in found["tokens"] for token in row}) > 2, "a text of one token would hide mistakes"
    program = lookup(strategy).program()
    again = run_virtual(experiment.topology, [lambda run: program(run, experiment.scenario)])
    assert (experiment.outcome.time_s, experiment.outcome.peak_bytes) == (again.time_s, again.peak_bytes)


def test_two_batches_over_two_ranks_and_two_memory_devices(llama: str) -> None:
    generated("lamina", llama, 2, 2, {"dop": "2,2"})


def test_three_batches_rotate_over_two_replicas() -> None:
    """The residual stream moves between replicas; four KV heads over three memory devices."""
    generated("lamina", "tiny-opt", 2, 3, {"dop": "2,3", "stagger": "3"})


def test_everything_sent_together_without_turns(llama: str) -> None:
    generated("lamina", llama, 1, 1, {"dop": "1,1", "stagger": "1", "overlap": "off"}, batch=2)


def test_the_tensor_parallel_baseline(llama: str) -> None:
    generated("vllm_tp", llama, 2, 1, {"gpus": "2"})


def test_a_stream_is_not_for_node_processes() -> None:
    options = {"dop": "1,1", "requests": "azure_code"}
    with pytest.raises(BadWorkload, match="virtual clock only"):
        run_experiment(RunSpec("lamina", "tiny-opt", live=True, options=options))
