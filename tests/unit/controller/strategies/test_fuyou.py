"""What a step of Fuyou takes on the declared server, and what it refuses; times come from the virtual clock."""

from functools import lru_cache

import pytest

from controller.errors import BadTopology, BadWorkload
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.training_scenario import TrainingScenario
from controller.offload.swap_planner import (
    block_flop_per_s,
    model_forward_flop,
    offloading_order,
    spilled_blocks,
)
from controller.strategies.fuyou import Fuyou
from controller.topology.loader import load_topology


@lru_cache(maxsize=64)
def run(model: str, batch: int, *overrides: str, options: tuple[tuple[str, str], ...] = ()) -> Experiment:
    return run_experiment(RunSpec("fuyou", model, overrides=overrides, batch=batch, options=dict(options)))


def time_s(model: str, batch: int, *overrides: str, **options: str) -> float:
    found = run(model, batch, *overrides, options=tuple(options.items()))
    assert found.outcome.ok
    return found.outcome.time_s


def scenario(model: str = "gpt-13b", batch: int = 32, *overrides: str, **options: str) -> TrainingScenario:
    topology = load_topology("server_4090", overrides)
    return TrainingScenario(topology, load_model(model), batch, 1024, 1, "fp16", options=options)


def test_orders_cost_what_they_hide():
    """Serial puts the optimizer behind the backward pass, naive lets drives wait for Adam."""
    optimised, naive, serial = (time_s("gpt-6b", 32, order=order) for order in ("optimised", "naive", "serial"))
    assert optimised < naive < serial
    alone = run("gpt-6b", 32, options=(("order", "serial"),)).outcome.phases["optimizer"]
    assert serial - optimised > 0.5 * alone


def test_where_drives_are_the_bound_the_order_matters_little():
    optimised, naive = (time_s("gpt-6b", 8, "ssd.count=1", order=order) for order in ("optimised", "naive"))
    assert 1.0 < naive / optimised < 1.1


def test_more_drives_are_never_slower():
    times = [time_s("gpt-6b", 32, f"ssd.count={count}") for count in (1, 2, 3, 6, 12)]
    assert times == sorted(times, reverse=True)


def test_a_step_moves_what_the_paper_counts():
    """16 P read, 14 P written, and no activation on the drives while main memory has room."""
    found = run("gpt-6b", 8)
    parameters = load_model("gpt-6b").parameter_count
    moved = {"read": 0.0, "write": 0.0}
    for use in found.outcome.resources:
        for side in moved:
            if use.name.startswith("ssd") and use.name.endswith(f"pcie.{side}"):
                moved[side] += use.amount
    # The last block is still on the GPU when its backward pass begins; the embedding is read at both its uses.
    assert moved["read"] == pytest.approx(16 * parameters, rel=0.02)
    assert moved["write"] == pytest.approx(14 * parameters, rel=1e-3)


def test_the_optimizer_buffers_are_the_only_states_in_main_memory():
    model = Fuyou(scenario("gpt-13b", 8))
    group, layer = max(g.elements for g in model.optimizer.groups), model.parts[1].layout.elements
    assert model.host_bytes == 8 * 16 * group + 2 * 2 * layer
    assert run("gpt-13b", 8).outcome.peak_bytes["cpu.dram"] == model.host_bytes + 39 * 2 * 8 * 1024 * 5120


def test_the_gpu_never_holds_more_than_two_blocks_of_parameters():
    held = run("gpt-70b", 1).outcome.peak_bytes["gpu0.hbm"]
    layer = 2 * Fuyou(scenario("gpt-70b", 1)).parts[1].layout.elements
    assert 4 * layer < held < 4 * layer + 2.2e9


def test_two_gpus_train_twice_the_tokens_where_drives_are_the_bound():
    one, two = run("gpt-6b", 16), run("gpt-6b", 16, "gpu.count=2")
    assert two.outcome.result.trained_tokens == 2 * one.outcome.result.trained_tokens
    assert two.outcome.time_s == pytest.approx(one.outcome.time_s, rel=0.01)
    single = run("gpt-6b", 16, "gpu.count=2", options=(("gpus", "1"),))
    assert single.outcome.time_s == one.outcome.time_s


def test_what_main_memory_cannot_hold_goes_to_the_drives():
    roomy, tight = run("gpt-6b", 64), run("gpt-6b", 64, "cpu.dram.capacity=110 GB")
    assert roomy.outcome.figures["spilled_blocks"] == 0 < tight.outcome.figures["spilled_blocks"]
    assert tight.outcome.peak_bytes["cpu.dram"] <= 110e9
    assert tight.outcome.time_s > roomy.outcome.time_s
    off = run("gpt-6b", 64, "cpu.dram.capacity=92 GB", options=(("spill", "off"),))
    assert not off.outcome.ok and off.outcome.ended.startswith("OOM at cpu.dram")


def test_a_given_volume_is_what_leaves():
    found = run("gpt-6b", 8, options=(("swap_activations", "4 GB"),)).outcome.figures
    layer = 8 * 1024 * 4096 * 2
    assert 4e9 - 4 * layer < found["swapped_bytes"] <= 4e9


def test_kinds_in_the_order_of_their_benefit():
    """The down projection costs 16 h^2 for h elements, the others 2 h^2 (the order of the authors' code)."""
    order = [kind.names[0] for kind in offloading_order(scenario())]
    assert order[:4] == ["ffn_down", "mid", "qkv", "up"]
    assert sum(kind.nbytes for kind in offloading_order(scenario())) == pytest.approx(
        16 * 2 * 32 * 1024 * 5120, rel=0.01
    )


def test_a_block_reaches_a_little_less_than_the_peak():
    """The paper measures about 160 TFLOP/s on a block of the RTX 4090."""
    assert 0.8 * 165.2e12 < block_flop_per_s(scenario(), "gpu0") < 165.2e12
    assert model_forward_flop(scenario()) == pytest.approx(2 * 12.85e9 * 32 * 1024, rel=0.05)


@pytest.mark.parametrize(("memory", "spilled"), [(40, 0), (39, 3), (30, 3), (29, 4), (20, 4), (0, 4)])
def test_spilled_blocks_by_hand(memory: int, spilled: int):
    """Four of five blocks of 10 bytes leave; spilled ones pass one place, or two."""
    assert spilled_blocks([10] * 5, memory) == spilled


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"order": "fast"}, "option order is 'fast'; write one of optimised, naive, serial"),
        ({"gpus": "0"}, "option gpus is '0'; write a whole number of at least 1"),
        ({"sub_group": "many"}, "option sub_group is 'many'"),
        ({"swap_activations": "1 GB"}, "the inputs of the blocks alone are 13421772800 bytes"),
        (
            {"swap_activations": "34"},
            "option swap_activations is '34'; write a size, for example '34 GB', or auto .*no unit",
        ),
        ({"spill": "perhaps"}, "option spill is 'perhaps'; write on or off"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], complaint: str):
    with pytest.raises(BadWorkload, match=complaint):
        Fuyou(scenario(**options))


def test_wrong_topologies_are_refused():
    with pytest.raises(BadTopology, match=r"option gpus is 2, and topology 'server_4090' has 1.*--set gpu.count=2"):
        Fuyou(scenario(gpus="2"))
    with pytest.raises(BadTopology, match="'dgx_h100' has no drive"):
        Fuyou(TrainingScenario(load_topology("dgx_h100"), load_model("gpt-6b"), 1, 1024, 1, "fp16"))


def test_the_command_of_the_documentation_runs():
    found = run_experiment(
        RunSpec("fuyou", "gpt-13b", "server_4090", ("gpu.product=rtx_3090", "ssd.count=3"), batch=32, seq=1024)
    )
    assert found.outcome.ok and found.tokens_per_s == pytest.approx(32 * 1024 / found.outcome.time_s)
