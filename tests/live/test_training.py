"""Training on node processes has the losses and parameters of plain torch.

More shapes and every set of saved activations run in one process in tests/unit/controller/models/training.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from controller.cli.main import main
from controller.execute.virtual import run_virtual
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.training import ADAM
from controller.strategies.table import lookup

pytestmark = pytest.mark.live

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "float32",
}  # fmt: skip

ASKED = ["--model", "tiny-opt", "--batch", "2", "--seq", "8", "--steps", "2", "--live"]

WRONG = """
from dataclasses import replace

from controller.strategies.train_gpu_only import TrainGpuOnly, train_gpu_only

def wrong(run, scenario):
    result = yield from train_gpu_only(run, scenario)
    return replace(result, losses=[1.0, 1.0])

def silent(run, scenario):
    model = TrainGpuOnly(scenario)
    plan = model.plans()["steps"]
    model.place(run)
    ids = scenario.token_ids[0, 0]
    run.write(model.gpus[0].ids, ids[:, :-1].copy())
    run.write(model.gpus[0].targets, ids[:, 1:].copy())
    yield run.submit(plan, step=1)

for made in (wrong, silent):
    made.topology, made.task = "a6000_ssd", "training"
"""


def trained(request: RunSpec) -> Experiment:
    """Runs a request live; its values are right and its time is the virtual one."""
    experiment = run_experiment(request)
    found = experiment.comparison
    assert experiment.outcome.ok and found["values_equal"], found
    assert len(found["losses"]) == len(found["reference_losses"]) == request.steps
    # Nothing so small passes for another step's loss or for parameters that did not move.
    assert found["loss_tolerance"] < 0.01 * abs(found["losses"][0] - found["losses"][-1])
    assert found["parameter_tolerance"] < ADAM.lr
    program = lookup(request.strategy).program()
    again = run_virtual(experiment.topology, [lambda run: program(run, experiment.scenario)])
    assert experiment.outcome.time_s == again.time_s
    assert experiment.outcome.peak_bytes == again.peak_bytes
    return experiment


@pytest.mark.parametrize("save", ["all", "inputs"])
def test_three_steps_in_gpu_memory(save: str):
    found = trained(RunSpec("train_gpu_only", "gpt-30m", batch=2, seq=16, steps=3, live=True, options={"save": save}))
    assert found.comparison["losses"][0] == pytest.approx(np.log(16_384), rel=0.05)
    assert found.to_json()["values_equal"] is True


def test_two_replicas_of_two_ranks():
    options = {"dp": "2", "tp": "2"}
    overrides = ("gpu.count=4",)
    found = trained(
        RunSpec("train_gpu_only", "tiny-opt", None, overrides, batch=2, seq=16, steps=3, live=True, options=options)
    )
    assert found.outcome.result.gpus == 2


def test_a_llama_with_grouped_heads(tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA))
    trained(RunSpec("train_gpu_only", str(config), batch=3, seq=20, steps=3, live=True, options={"save": "inputs"}))


def test_the_command_prints_the_comparison(capsys):
    assert main(["run", "train_gpu_only", *ASKED]) == 0
    shown = capsys.readouterr().out
    assert "losses and parameters equal: yes (against torch" in shown
    assert "step 2: loss" in shown and "largest parameter difference" in shown


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("wrong", 1, "losses and parameters equal: NO"),
        ("silent", 0, "returned no losses, so no value was compared"),
    ],
)
def test_the_command_fails_where_values_differ(tmp_path: Path, capsys, program: str, code: int, said: str):
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    assert main(["run", f"{file}:{program}", *ASKED]) == code
    assert said in capsys.readouterr().out
