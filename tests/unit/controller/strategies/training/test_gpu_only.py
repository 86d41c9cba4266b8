"""Training in the memory of one GPU: what it needs, what it takes, and what it reports."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from controller.errors import BadTopology, BadWorkload
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.training import activation_kinds, layer_backward_flop, layer_forward_flop, lse_bytes, parts
from controller.models.training_scenario import TrainingScenario
from controller.models.weights import SeededWeights
from controller.plan.check import check_plan
from controller.plan.ops import Buffer
from controller.strategies.training.gpu_only import GpuTraining, train_gpu_only
from controller.strategies.training.loop import token_buffers, training_result, write_tokens
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
    scratch = GpuTraining(scenario()).stage.scratch_bytes
    ids = 2 * tokens * 8
    assert outcome.peak_bytes["gpu0.hbm"] == 16 * XL.parameter_count + kept + scratch + ids
    assert scratch < 1.2 * 2**30


def test_saving_only_the_inputs_trades_memory_for_time():
    every, inputs = run(scenario()), run(scenario(options={"save": "inputs"}))
    assert inputs.peak_bytes["gpu0.hbm"] < 0.75 * every.peak_bytes["gpu0.hbm"]
    # Forward once more, of four thirds.
    assert 1.15 < inputs.time_s / every.time_s < 1.4


def test_a_step_takes_at_least_what_its_arithmetic_takes():
    outcome = run(scenario())
    assert outcome.reports() == {"gpus": 1, "trained_tokens": 8192, "rate_phase": "steps"}
    assert outcome.phases["steps"] == outcome.time_s
    peak = TOPOLOGY.devices["gpu0"].spec.computes["tensor"].peak_flop_per_s["fp16"]
    least = 2 * XL.layers * (layer_forward_flop(XL, 4, 1024) + layer_backward_flop(XL, 4, 1024)) / peak
    assert least < outcome.time_s < 4 * least


def test_its_plan_passes_every_check():
    small = scenario(shape=load_model("tiny-opt"), batch=2, seq=16)
    check_plan(GpuTraining(small).step_plan(), TOPOLOGY, {"step": 1})


def test_a_model_that_does_not_fit_is_a_result():
    outcome = run(scenario(shape=load_model("gpt-13b")))
    assert not outcome.ok and "gpu0.hbm" in outcome.ended and outcome.shortages[0].missing_bytes > 0


def test_wrong_options_and_topologies_are_refused():
    with pytest.raises(BadWorkload, match="--save is 'some'; it may be all or inputs"):
        GpuTraining(scenario(options={"save": "some"}))
    with pytest.raises(BadTopology, match="'edge_star' has no gpu that computes"):
        GpuTraining(scenario(topology=load_topology("edge_star")))


def test_inputs_are_all_tokens_but_the_last_and_targets_all_but_the_first():
    class Written:
        def __init__(self):
            self.values = {}

        def write(self, buffer, content):
            self.values[buffer.device, buffer.name] = content

    ids = np.arange(2 * 2 * 4 * 17).reshape(2, 2, 4, 17)
    given, seen = scenario(seq=16, token_ids=ids), Written()
    write_tokens(seen, given, 1, [token_buffers(given, "gpu0"), token_buffers(given, "gpu1")])
    np.testing.assert_array_equal(seen.values["gpu1", "ids"], ids[1, 1, :, :16])
    np.testing.assert_array_equal(seen.values["gpu1", "targets"], ids[1, 1, :, 1:])
    assert seen.values["gpu0", "ids"][0, 0] == ids[1, 0, 0, 0]


def test_parameters_are_returned_by_part_and_by_tensor():
    shape = load_model("tiny-opt")
    part, weights = parts(shape)[1], SeededWeights(shape)
    whole = part.layout.buffer("gpu0", "hbm", "whole", "fp32")
    single = Buffer("gpu0", "hbm", "single", "fp32", (384 * 64,))
    contents = {whole: part.content(weights.tensor), single: weights.tensor("embed").reshape(-1)}
    seen = SimpleNamespace(live=True, fetch=lambda where: where)
    given = scenario(shape=shape, seq=16)
    program = training_result(seen, given, [2.0, 1.0], [(part, whole), ("embed", single)], gpus=2)
    wish = next(program)
    with pytest.raises(StopIteration) as stop:
        while True:
            wish = program.send(contents[wish])
    found = stop.value.value
    assert found.losses == [2.0, 1.0] and found.trained_tokens == 2 * 2 * 4 * 16
    assert set(found.parameters) == {"embed", *(f"layers.0.{name}" for name in part.layout.shapes)}
    for name, values in found.parameters.items():
        np.testing.assert_array_equal(values, weights.tensor(name))


def test_throughput_is_that_of_the_steps():
    found = run_experiment(RunSpec("train_gpu_only", "gpt2", batch=2, steps=3))
    assert found.tokens_per_s == pytest.approx(3 * 2 * 1024 / found.outcome.phases["steps"])
