"""Training in the memory of one GPU: what it needs, what it takes, and what it reports."""

from dataclasses import replace

import pytest

from controller.errors import BadTopology, BadWorkload
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.training.activations import activation_kinds, layer_backward_flop, layer_forward_flop, lse_bytes
from controller.models.training_scenario import TrainingScenario
from controller.plan.check import check_plan
from controller.strategies.train_gpu_only import TrainGpuOnly, train_gpu_only
from controller.topology.loader import load_topology

TOPOLOGY = load_topology("dgx_h100", ("gpu.count=1",))
XL = load_model("gpt2-xl")


def scenario(**change) -> TrainingScenario:
    return replace(TrainingScenario(TOPOLOGY, XL, 4, 1024, 2, "fp16"), **change)


def run(given: TrainingScenario):
    return run_virtual(given.topology, [lambda run: train_gpu_only(run, given)])


def test_states_take_sixteen_bytes_a_parameter_and_activations_what_their_kinds_say():
    outcome = run(scenario())
    tokens = 4 * 1024
    kinds = sum(kind.nbytes(tokens, "fp16") for name, kind in activation_kinds(XL).items() if name != "ffn_down")
    kept = XL.layers * (kinds + lse_bytes(XL, 4, 1024)) + 2 * tokens * XL.hidden
    ids = 2 * tokens * 8
    # What the loss needs beside them: the normed stream, its gradient and some logits.
    passing = outcome.peak_bytes["gpu0.hbm"] - 16 * XL.parameter_count - kept - ids
    assert 2 * tokens * 2 * XL.hidden < passing < 0.6 * 2**30


def test_saving_only_the_inputs_trades_memory_for_time():
    every, inputs = run(scenario()), run(scenario(options={"save": "inputs"}))
    assert inputs.peak_bytes["gpu0.hbm"] < 0.75 * every.peak_bytes["gpu0.hbm"]
    # Forward once more, of four thirds.
    assert 1.15 < inputs.time_s / every.time_s < 1.4


def test_a_step_takes_at_least_what_its_arithmetic_takes():
    outcome = run(scenario())
    assert outcome.reports() == {"gpus": 1, "trained_tokens": 8192, "rate_phase": "steps"}
    assert outcome.phases["steps"] == pytest.approx(outcome.time_s, rel=1e-12)
    peak = TOPOLOGY.devices["gpu0"].spec.computes["tensor"].peak_flop_per_s["fp16"]
    least = 2 * XL.layers * (layer_forward_flop(XL, 4, 1024) + layer_backward_flop(XL, 4, 1024)) / peak
    assert least < outcome.time_s < 4 * least


def test_its_plan_passes_every_check():
    small = scenario(shape=load_model("tiny-opt"), batch=2, seq=16)
    check_plan(TrainGpuOnly(small).plans()["steps"], TOPOLOGY, {"step": 1})


def test_a_model_that_does_not_fit_is_a_result():
    outcome = run(scenario(shape=load_model("gpt-13b")))
    assert not outcome.ok and "gpu0.hbm" in outcome.ended and outcome.shortages[0].missing_bytes > 0


def test_wrong_options_and_topologies_are_refused():
    with pytest.raises(BadWorkload, match="option save is 'some'; write one of all, inputs"):
        TrainGpuOnly(scenario(options={"save": "some"}))
    with pytest.raises(BadTopology, match="'edge_star' has no gpu that computes"):
        TrainGpuOnly(scenario(topology=load_topology("edge_star")))


def test_throughput_is_that_of_the_steps():
    found = run_experiment(RunSpec("train_gpu_only", "gpt2", batch=2, steps=3))
    assert found.tokens_per_s == pytest.approx(3 * 2 * 1024 / found.outcome.phases["steps"])
