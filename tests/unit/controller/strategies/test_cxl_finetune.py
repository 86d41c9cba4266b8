"""Plans of the fine-tuning step: what they move, what they demand, and how wrong input is refused."""

from __future__ import annotations

import pytest

from controller.cli.main import main
from controller.errors import BadTopology, BadWorkload
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.training_scenario import TrainingScenario
from controller.plan.check import check_plan
from controller.plan.ops import Kernel, Transfer
from controller.strategies.cxl_finetune import CxlFinetune, cxl_finetune
from controller.topology.loader import load_topology


def scenario(overrides=(), model="tiny-opt", batch=2, seq=32, **options) -> TrainingScenario:
    topology = load_topology("cxl_finetune", list(overrides))
    return TrainingScenario(topology, load_model(model), batch, seq, 1, "bf16", options=options)


def moved(plan, label: str, place: str = "") -> int:
    """Bytes of the transfers of a label, of those whose host end lies on `place`."""
    total = 0
    for op in plan.ops:
        if isinstance(op, Transfer) and op.label == label:
            ends = {view.buffer.device for view in (*op.sources, *op.destinations)}
            if not place or place in ends:
                total += 2 * op.sources[0].shape[0]
    return total


@pytest.mark.parametrize("placement", ["local_only", "naive_interleaving", "cxl_aware"])
@pytest.mark.parametrize("gpus", [1, 2])
def test_every_plan_is_ordered_and_moves_what_a_step_moves(placement: str, gpus: int):
    asked = (
        scenario([f"gpu.count={gpus}", "aic.count=2"], placement=placement, dram_budget="500 kB")
        if (placement != "local_only")
        else scenario([f"gpu.count={gpus}"], placement=placement)
    )
    model = CxlFinetune(asked)
    plans = model.plans()
    for plan in plans.values():
        check_plan(plan, asked.topology, {"step": 1})
    parameters = sum(part.layout.elements for part in model.parts)
    head, embedding = model.parts[-1].layout.elements, model.parts[0].layout.elements
    checkpoint = 2 * asked.tokens * asked.shape.hidden * asked.shape.layers
    # Forward needs no head; backward brings the token table again, which is the head of this model.
    assert asked.shape.tie_word_embeddings
    assert moved(plans["forward"], "weights in") == 2 * (parameters - head)
    assert moved(plans["backward"], "weights in") == 2 * parameters
    assert embedding
    assert moved(plans["backward"], "gradients out") == 2 * parameters
    assert moved(plans["forward"], "checkpoint out") == gpus * checkpoint
    assert moved(plans["backward"], "checkpoint in") == gpus * checkpoint
    between = moved(plans["backward"], "gradients between gpus")
    assert between == (2 * parameters if gpus == 2 else 0)


def test_adam_takes_one_tensor_after_the_other_and_every_element_once():
    model = CxlFinetune(scenario(dram_budget="500 kB"))
    kernels = [op for op in model.plans()["optimizer"].ops if isinstance(op, Kernel)]
    tensors = sum(len(part.layout.shapes) for part in model.parts)
    assert len(kernels) == tensors
    stepped = sum(view.shape[0] for op in kernels for view in op.inputs[::4])
    assert stepped == sum(part.layout.elements for part in model.parts)
    assert any(len(op.inputs) > 4 for op in kernels)


def step_s(overrides=(), **options) -> dict[str, float]:
    asked = scenario(overrides, model="opt-1.3b", batch=1, seq=512, **options)
    outcome = run_virtual(asked.topology, [lambda run: cxl_finetune(run, asked)])
    assert outcome.ok, outcome.ended
    return outcome.phases


def test_adam_runs_at_the_rate_of_the_memory_that_its_tensors_lie_in():
    parameters = load_model("opt-1.3b")
    asked = scenario(model="opt-1.3b")
    model = CxlFinetune(asked)
    elements = sum(part.layout.elements for part in model.parts)
    launches = 135e-6 * sum(len(part.layout.shapes) for part in model.parts)
    assert parameters.layers == 24
    # 28 bytes of states an element, and 2 of the new weights.
    dram = step_s(placement="local_only")["optimizer"]
    assert dram - launches == pytest.approx(30 * elements / 275.9e9, rel=0.01)
    card = step_s(dram_budget="1 B")["optimizer"]
    assert card - launches == pytest.approx(30 * elements / 67.6e9, rel=0.01)
    # Two cards halve it.
    two = step_s(["aic.count=2"], dram_budget="1 B")["optimizer"]
    assert two - launches == pytest.approx((card - launches) / 2, rel=0.01)


def test_weights_set_the_share_of_naive_interleaving():
    asked = scenario(placement="naive_interleaving", weights="1:3")
    for shares in CxlFinetune(asked).memory.planned_bytes().values():
        assert shares["cpu.dram"] / sum(shares.values()) == pytest.approx(0.25, abs=0.001)


def test_without_a_card_everything_lies_in_dram():
    asked = scenario(placement="local_only")
    planned = CxlFinetune(asked).memory.planned_bytes()
    assert all(shares["aic0.cxl"] == 0 for shares in planned.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": "best"}, "option placement is 'best'; write one of local_only"),
        ({"weights": "1-2"}, "option weights is '1-2'; write pages on DRAM"),
        ({"weights": "0:2"}, "both from 1 to 255"),
        ({"dram_budget": "lots"}, "option dram_budget is 'lots'; write a size"),
        ({"dram_budget": "1 GiB", "placement": "local_only"}, "--set cpu.dram.capacity"),
        ({"gpus": "none"}, "option gpus is 'none'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], message: str):
    with pytest.raises(BadWorkload, match=message):
        CxlFinetune(scenario(**options))


def test_more_gpus_than_there_are_are_refused():
    with pytest.raises(BadTopology, match=r"--set gpu.count=3"):
        CxlFinetune(scenario(gpus="3"))


def test_running_out_is_a_result_with_the_tier_and_the_bytes():
    found = run_experiment(
        RunSpec("cxl_finetune", "mistral-nemo-12b", overrides=("aic.cxl.capacity=64 GiB",), batch=1, seq=4096)
    )
    assert not found.outcome.ok and found.outcome.ended.startswith("OOM at aic0.cxl: ")
    local = run_experiment(
        RunSpec(
            "cxl_finetune", "qwen2.5-7b", overrides=("cpu.dram.capacity=128 GiB",), batch=1, seq=4096,
            options={"placement": "local_only"},
        )
    )  # fmt: skip
    assert local.outcome.ended.startswith("OOM at cpu.dram: ")
    need = 20 * 7_615_616_512 + 2 * 4096 * 3584 * 28
    assert local.outcome.shortages[0].missing_bytes == need - 128 * 2**30


def test_the_command_prints_where_every_group_lies(capsys):
    asked = ["run", "cxl_finetune", "--model", "qwen2.5-7b", "--batch", "16", "--seq", "4096", "--details"]
    assert main([*asked, "--placement", "cxl_aware", "--set", "aic.count=2"]) == 0
    shown = capsys.readouterr().out
    assert "30.46 GB: cpu.dram 100.0%" in shown and "aic1.cxl" in shown
