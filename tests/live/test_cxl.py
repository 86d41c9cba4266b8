"""Fine-tuning over DRAM and CXL cards on node processes: values of plain torch, and bytes that lie where they should.

Placement, spreads and times are tested without processes in tests/unit/controller; here the CPU's node
really loads and stores on the memory of the cards' nodes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from controller.errors import KernelFailed
from controller.execute.live import run_live
from controller.execute.virtual import run_virtual
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.launch import launch
from controller.models.catalog import load_model
from controller.models.training import ADAM, InitialWeights, draw_tokens
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.strategies.cxl_finetune import CxlFinetune, cxl_finetune
from controller.strategies.table import lookup
from controller.topology.loader import load_topology
from node.wire.commands import LaunchKernel, Operand

pytestmark = pytest.mark.live

CARDS_AND_GPU = ("aic.cxl.capacity=2 GiB", "gpu.hbm.capacity=2 GiB")
SMALL_TIERS = (*CARDS_AND_GPU, "cpu.dram.capacity=2 GiB")
LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "float32", "tie_word_embeddings": False,
}  # fmt: skip


def trained(request: RunSpec) -> Experiment:
    """Runs a request live; its values are right and its time is the virtual one."""
    experiment = run_experiment(request)
    found = experiment.comparison
    assert experiment.outcome.ok and found["values_equal"], found
    assert len(found["losses"]) == len(found["reference_losses"]) == request.steps
    # Nothing so small passes for another step's loss, or for parameters that did not move.
    assert found["loss_tolerance"] < 0.05 * (max(found["losses"]) - min(found["losses"]))
    assert found["parameter_tolerance"] < 0.11 * ADAM.lr
    program = lookup(request.strategy).program()
    again = run_virtual(experiment.topology, [lambda run: program(run, experiment.scenario)])
    assert experiment.outcome.time_s == again.time_s
    assert experiment.outcome.peak_bytes == again.peak_bytes
    return experiment


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("placement", ["cxl_aware", "naive_interleaving"])
def test_ten_steps_of_a_small_transformer(placement: str):
    # 27 million parameters: 434 MB of states alone, of which 200 MB find room in DRAM.
    options = {"placement": placement, "dram_budget": "200 MB"}
    overrides = (*CARDS_AND_GPU, "cpu.dram.capacity=200 MB", "aic.count=2")
    found = trained(
        RunSpec("cxl_finetune", "gpt-30m", overrides=overrides, batch=2, seq=16, steps=10, live=True, options=options)
    )
    assert found.comparison["losses"][0] == pytest.approx(np.log(16_384), rel=0.05)
    planned = found.outcome.figures["placement"]
    where = {node for shares in planned.values() for node, size in shares.items() if size}
    assert where == {"cpu.dram", "aic0.cxl", "aic1.cxl"}


@pytest.mark.parametrize("gpus", ["1", "2"])
def test_a_llama_with_a_head_of_its_own_on_one_gpu_and_on_two(tmp_path: Path, gpus: str):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA))
    options = {"placement": "cxl_aware", "dram_budget": "1 MB", "gpus": gpus, "weights": "1:2"}
    found = trained(
        RunSpec(
            "cxl_finetune", str(config), overrides=(*SMALL_TIERS, f"gpu.count={gpus}"), batch=3, seq=20, steps=8,
            live=True, options=options,
        )
    )  # fmt: skip
    assert found.outcome.result.gpus == int(gpus)


def test_tiers_that_are_too_small_spill_exactly_as_planned():
    shape = load_model("tiny-opt")
    overrides = [*CARDS_AND_GPU, "cpu.dram.capacity=600 kB", "aic.count=2"]
    topology = load_topology("cxl_finetune", overrides)
    scenario = TrainingScenario(
        topology, shape, 2, 8, 1, "fp32", InitialWeights(shape), draw_tokens(shape, 1, 1, 2, 8),
    )  # fmt: skip
    planned = CxlFinetune(scenario).memory.planned_bytes()
    totals = {node: sum(shares[node] for shares in planned.values()) for node in ("cpu.dram", "aic0.cxl", "aic1.cxl")}
    # All of DRAM is taken, to less than one element a group, and the rest is on the cards.
    assert 600_000 - 4 * len(planned) < totals["cpu.dram"] <= 600_000
    assert totals["aic0.cxl"] and totals["aic1.cxl"]
    with launch(topology) as cluster:
        outcome = run_live(topology, [lambda run: cxl_finetune(run, scenario)], cluster)
        assert outcome.ok
        used = {
            f"{device}.{name}": use.used_bytes
            for device, client in cluster.clients.items()
            for name, use in client.describe().tiers.items()
        }
    assert {node: used[node] for node in totals} == totals
    assert {node: outcome.peak_bytes[node] for node in totals} == totals


def test_a_kernel_stores_on_a_card_and_sees_what_was_copied_there():
    topology = load_topology("cxl_finetune", list(SMALL_TIERS))
    here = Buffer("cpu", "dram", "here", "fp32", (1000,))
    there = Buffer("aic0", "cxl", "there", "fp32", (1000,))
    back = Buffer("gpu0", "hbm", "back", "fp32", (1000,))
    build = PlanBuilder("load and store")
    build.transfer(here, there)
    build.kernel("scale", "cpu", [there], [there], factor=3.0)
    build.transfer(there, back)
    plan = build.plan()
    seen = []

    def program(run):
        run.place(here, np.arange(1000, dtype=np.float32))
        for buffer in (there, back):
            run.place(buffer, written=True)
        for _ in range(2):
            yield run.submit(plan)
        # What is freed there makes the mapping old, and it is found anew.
        other = Buffer("aic0", "cxl", "other", "fp32", (10,))
        run.place(other, written=True)
        run.release(other)
        yield run.submit(plan)
        seen.append((yield run.fetch(back)))

    with launch(topology) as cluster:
        assert run_live(topology, [program], cluster).ok
    assert np.array_equal(seen[0], 3.0 * np.arange(1000, dtype=np.float32))


def test_far_operands_that_are_not_there_are_refused():
    topology = load_topology("cxl_finetune", list(SMALL_TIERS))
    with launch(topology) as cluster:
        cluster.clients["aic0"].allocate("cxl/x", "cxl", "fp32", (4,))
        cpu = cluster.clients["cpu"]

        def error(name: str, offset: int = 0) -> str:
            far = Operand(name, offset, (4,), "aic0")
            error.number += 1
            (done,) = cpu.submit(
                [LaunchKernel(error.number, "scale", (far,), (far,), {"factor": 1.0})], ready_at=0.0
            ).result()
            return done.error

        error.number = 0
        assert error("cxl/x") == ""
        assert error("cxl/y").startswith("UnknownBuffer")
        assert error("cxl/x", 4).startswith("OutOfRange")
    assert issubclass(KernelFailed, Exception)
