"""Energy reaches the result of a run, its JSON and its table."""

import json

import pytest
from click.testing import CliRunner

from controller.cli.run import run
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec

ASKED = RunSpec("instinfer", "opt-125m", batch=2, prompt_tokens=32, output_tokens=4)


@pytest.fixture(scope="module")
def experiment():
    return run_experiment(ASKED)


def test_energy_lies_between_idle_and_busy_power(experiment):
    energy = experiment.energy
    for each in energy.devices:
        power = experiment.topology.devices[each.device].spec.power_w
        assert each.energy_j <= power["busy"] * experiment.outcome.time_s * (1 + 1e-12)
        assert each.energy_j >= power.get("idle", 0.0) * experiment.outcome.time_s * (1 - 1e-12)
        assert sum(each.by_activity.values()) == pytest.approx(each.energy_j)
    assert energy.joule_per_token == pytest.approx(energy.energy_j / (2 * 4))


def test_json_has_it_a_run_a_device_and_a_token(experiment):
    found = json.loads(json.dumps(experiment.to_json()["energy"]))
    assert experiment.to_json()["energy_j"] == found["energy_j"] > 0
    assert {each["device"] for each in found["by_device"]} | set(found["left_out"]) == set(experiment.topology.devices)
    assert found["joule_per_token"] > 0


def test_the_table_says_what_is_left_out():
    given = ["instinfer", "--model", "opt-125m", "--batch", "2", "--prompt-tokens", "32", "--output-tokens", "4"]
    result = CliRunner().invoke(run, [*given, "--details"])
    assert result.exit_code == 0, result.output
    assert "energy per run: at least" in result.output
    assert "a token" in result.output
    assert "left out: cpu" in result.output


def test_more_tokens_cost_more():
    longer = run_experiment(RunSpec("instinfer", "opt-125m", batch=2, prompt_tokens=32, output_tokens=8))
    assert longer.energy.energy_j > run_experiment(ASKED).energy.energy_j


def test_a_run_that_did_not_end_well_has_none():
    failed = run_experiment(RunSpec("gpu_only", "opt-175b", batch=1, prompt_tokens=32, output_tokens=4))
    assert failed.outcome.ended != "ok"
    assert failed.energy is None
    assert failed.to_json()["energy_j"] is None
