"""Runs with values in this process, from names."""

from __future__ import annotations

import json

import pytest

from controller.cli.main import main
from controller.errors import BadWorkload, PreflightFailed
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.strategies.table import lookup

WRONG = """
import numpy as np
from controller.plan.ops import Buffer
from controller.program.results import GenerationResult

def wrong(run, scenario):
    ids = Buffer("gpu", "hbm", "ids", "int64", (1,))
    run.place(ids, np.array([3]))
    found = yield run.fetch(ids)
    if run.live:
        return GenerationResult(4, [found.tolist()] * 4, [np.zeros((1, scenario.shape.vocab))] * 4)
"""


def test_a_generation_has_the_tokens_of_the_plain_run_and_the_time_of_the_virtual_one() -> None:
    found = run_experiment(RunSpec("instinfer", "tiny-opt", batch=2, prompt_tokens=9, output_tokens=20, local=True))
    values = found.to_json()
    assert values["executor"] == "local"
    assert (values["tokens_equal"], values["tokens_compared"]) == (40, 40)
    assert 0 < values["max_logit_difference"] < 1e-3
    program = lookup("instinfer").program()
    again = run_virtual(found.topology, [lambda run: program(run, found.scenario)])
    assert (found.outcome.time_s, found.outcome.peak_bytes) == (again.time_s, again.peak_bytes)
    assert list(found.phases_wall_s) == ["load", "survey", "run", "reference"]


def test_training_has_the_losses_and_parameters_of_plain_torch() -> None:
    found = run_experiment(RunSpec("train_gpu_only", "tiny-opt", batch=2, seq=8, steps=2, local=True))
    assert found.outcome.ok and found.comparison["values_equal"]


def test_a_model_that_does_not_fit_is_a_result_before_a_byte_is_there() -> None:
    found = run_experiment(RunSpec("instinfer", "opt-30b", local=True))
    assert found.outcome.ended.startswith("OOM at gpu.hbm: ")


def test_a_machine_without_the_memory_is_told_before_a_byte_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.experiment.local._RAM_SHARE", 0.0)
    with pytest.raises(PreflightFailed, match=r"need 0\.00 GB of memory, of which this machine can give 0\.00 GB"):
        run_experiment(RunSpec("gpu_only", "tiny-opt", output_tokens=2, local=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"live": True}, "--live and --local name two executors"),
        ({"pace": 2.0}, "--pace is for node processes"),
        ({"ray": "auto"}, "--ray is for node processes"),
        ({"effective_context": 3.0}, "a local run attends to what is there"),
    ],
)
def test_what_a_local_run_has_not_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(BadWorkload, match=message):
        run_experiment(RunSpec("gpu_only", "tiny-opt", local=True, **fields))


def test_the_command_fails_where_tokens_differ(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--model", "tiny-opt", "--prompt-tokens", "4", "--output-tokens", "4", "--local"]
    assert main(["run", "gpu_only", *size, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens_equal"] == 4
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    assert main(["run", f"{file}:wrong", *size]) == 1
    shown = capsys.readouterr().out
    assert (
        "wrong.py:wrong, local: tiny-opt" in shown
        and "WRONG: 0 of 4 tokens equal" in shown
        and "tokens equal: 0/4" in shown
    )
