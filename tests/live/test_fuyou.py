"""Out-of-core training on node processes with real tiers has the losses and parameters of plain torch.

Orders, volumes, drives and GPUs in every combination run in one process in tests/unit/controller/strategies.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from controller.errors import DeviceUnreachable
from controller.execute.live import run_live
from controller.execute.virtual import run_virtual
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import LIVE_DTYPE, RunSpec
from controller.launch import Cluster, launch
from controller.models.catalog import load_model
from controller.models.training import ADAM
from controller.models.training_reference import train_reference
from controller.models.training_scenario import TrainingScenario
from controller.models.weights import open_weights
from controller.offload.drive_optimizer import Checkpoint
from controller.strategies.fuyou import Fuyou, go_on
from controller.strategies.table import lookup
from controller.topology.loader import load_topology

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

GPT = {
    "model_type": "gpt2", "n_embd": 64, "n_layer": 6, "n_head": 4, "n_positions": 64, "vocab_size": 300,
    "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "torch_dtype": "float32",
}  # fmt: skip
BATCH, SEQ = 2, 16
BLOCK_BYTES = BATCH * SEQ * 64 * 4
INPUTS = {"swap_activations": f"{6 * BLOCK_BYTES} B", "sub_group": "60000"}


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GPT))
    return str(path)


def trained(request: RunSpec) -> Experiment:
    """Runs a request live; its values are right and its time is the virtual one."""
    experiment = run_experiment(request)
    found = experiment.comparison
    assert experiment.outcome.ok and found["values_equal"], found
    assert len(found["losses"]) == request.steps
    assert found["parameter_tolerance"] < ADAM.lr
    program = lookup(request.strategy).program()
    again = run_virtual(experiment.topology, [lambda run: program(run, experiment.scenario)])
    assert experiment.outcome.time_s == again.time_s
    assert experiment.outcome.peak_bytes == again.peak_bytes
    return experiment


@pytest.mark.timeout(600)
def test_ten_steps_of_27_million_parameters():
    options = {"sub_group": "4000000"}
    found = trained(
        RunSpec("fuyou", "gpt-30m", None, ("ssd.count=2",), batch=2, seq=16, steps=10, live=True, options=options)
    )
    assert found.shape.parameter_count > 20e6
    assert list(found.outcome.phases) == ["forward", "backward"]


def test_what_main_memory_cannot_hold_lies_on_the_drives(config: str):
    """Room for two of five blocks beside the two places that spilled ones pass."""
    topology = load_topology("server_4090", ("ssd.count=2",))
    scenario = TrainingScenario(topology, load_model(config), BATCH, SEQ, 1, LIVE_DTYPE, options=INPUTS)
    room = Fuyou(scenario).host_bytes + 4 * BLOCK_BYTES
    found = trained(
        RunSpec(
            "fuyou", config, None, ("ssd.count=2", f"cpu.dram.capacity={room} B"),
            batch=BATCH, seq=SEQ, steps=3, live=True, options=INPUTS,
        )
    )  # fmt: skip
    assert found.outcome.figures["spilled_blocks"] == 3
    assert found.outcome.peak_bytes["cpu.dram"] == room
    moved = {entry.label: entry.count for entry in found.outcome.op_times}
    # Three blocks on two drives in three steps.
    assert moved["ssd activations out"] == moved["ssd activations in"] == 3 * 2 * 3


@pytest.mark.parametrize("order", ["naive", "serial"])
def test_other_orders_and_two_gpus(config: str, order: str):
    options = {"order": order, "sub_group": "60000"}
    overrides = ("ssd.count=3", "gpu.count=2")
    found = trained(
        RunSpec("fuyou", config, None, overrides, batch=BATCH, seq=SEQ, steps=3, live=True, options=options)
    )
    assert found.outcome.result.gpus == 2


@pytest.mark.parametrize("strategy", ["zero_infinity", "zero_offload", "colossalai", "flashneuron"])
def test_the_baselines(config: str, strategy: str):
    trained(RunSpec(strategy, config, None, ("ssd.count=2",), batch=BATCH, seq=SEQ, steps=3, live=True))


def test_states_survive_the_death_of_a_drive_and_the_step_is_repeated(config: str, tmp_path: Path):
    """Killed in the backward pass of the third step: the drives hold the second one, and training goes on from it."""
    topology = load_topology("server_4090", ("ssd.count=2",))
    shape, flash = load_model(config), tmp_path / "flash"
    weights = open_weights(shape, 0)
    tokens = np.random.default_rng(4).integers(0, shape.vocab, (5, 1, BATCH, SEQ + 1), np.int64)
    options = {"sub_group": "60000"}
    scenario = TrainingScenario(topology, shape, BATCH, SEQ, 5, LIVE_DTYPE, weights, tokens, options)
    model = Fuyou(scenario)

    with launch(topology, flash_folder=flash) as cluster:

        def killed_in_the_third_step(run):
            inner, value, backward = go_on(run, model), None, 0
            while True:
                wish = inner.send(value)
                backward += getattr(wish, "plan", "") == "fuyou backward"
                if backward == 3:
                    # The plan is with the nodes; nothing of it is acknowledged before it has ended.
                    os.kill(cluster.processes["ssd0"], signal.SIGKILL)
                value = yield wish

        with pytest.raises(DeviceUnreachable, match="ssd0 killed by signal 9"):
            run_live(topology, [killed_in_the_third_step], cluster)

    with launch(topology, flash_folder=flash) as cluster:
        found = Checkpoint(2, states_on(cluster, model))
    two = train_reference(weights, tokens[:2])
    for group, states in zip(model.optimizer.groups, found.states, strict=True):
        for part in group.offsets:
            start = group.offsets[part]
            named = model.parts[part].named(states[start : start + model.parts[part].layout.elements])
            for name, values in named.items():
                np.testing.assert_allclose(values, two.parameters[name], atol=0.05 * ADAM.lr * 2, err_msg=name)

    resumed = Fuyou(scenario, found)
    with launch(topology) as cluster:
        outcome = run_live(topology, [lambda run: go_on(run, resumed)], cluster)
    whole = train_reference(weights, tokens)
    np.testing.assert_allclose(outcome.result.losses, whole.losses[2:], rtol=1e-4)
    for name, values in whole.parameters.items():
        np.testing.assert_allclose(outcome.result.parameters[name], values, atol=0.05 * ADAM.lr * 5, err_msg=name)


def states_on(cluster: Cluster, model: Fuyou) -> list[np.ndarray]:
    """The optimizer states of every sub-group as the drives have them."""
    return [
        np.concatenate([cluster.clients[s.device].read(f"{s.tier}/{s.name}") for s in tensor.buffers])
        for tensor in model.optimizer.states
    ]
