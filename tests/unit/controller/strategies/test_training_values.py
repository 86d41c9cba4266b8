"""Every out-of-core strategy trains what plain torch trains: orders, drives, GPUs, swaps, in this process.

Plans run as far backwards as their edges allow, on buffers that start as NaN, so that a missing edge shows.
"""

import pytest

from controller.strategies.colossalai import colossalai
from controller.strategies.fuyou import Fuyou, fuyou
from controller.strategies.train_gpu_only import train_gpu_only
from controller.strategies.zero_infinity import zero_infinity
from controller.strategies.zero_offload import zero_offload


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("order", ["optimised", "naive", "serial"])
def test_every_order(small, order: str, backwards: bool) -> None:
    run = small.train(fuyou, "ssd.count=2", backwards=backwards, order=order, sub_group="14000")
    stages = ["forward", "backward", *(["optimizer"] if order == "serial" else [])]
    assert list(run.outcome.phases) == stages


@pytest.mark.parametrize("drives", [1, 3, 12])
@pytest.mark.parametrize("sub_group", ["1", "30000", "700000000"])
def test_every_size_of_sub_groups_over_any_number_of_drives(small, drives: int, sub_group: str) -> None:
    small.train(fuyou, f"ssd.count={drives}", sub_group=sub_group)


@pytest.mark.parametrize("kinds", range(8))
def test_every_volume_of_activations(small, kinds: int) -> None:
    """From the inputs of the blocks to everything, with a kind that only some of the blocks swap."""
    inputs = 5 * 2 * 12 * 32 * 4
    run = small.train(fuyou, "ssd.count=2", swap_activations=f"{inputs + kinds * 31_000} B", sub_group="14000")
    swapped = run.outcome.figures["swapped_bytes"]
    assert inputs + (kinds - 1) * 31_000 < swapped <= inputs + kinds * 31_000 or swapped > 16 * inputs


@pytest.mark.parametrize("order", ["optimised", "serial"])
def test_two_gpus_average_their_gradients(small, order: str) -> None:
    small.train(fuyou, "ssd.count=2", gpus=2, order=order, sub_group="30000")


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize(("blocks", "spilled"), [(4, 0), (3.9, 3), (3, 3), (2.5, 4), (2, 4)])
def test_blocks_spill_exactly_as_planned(small, gpus: int, blocks: float, spilled: int) -> None:
    """Four of five blocks leave the GPU; those that spill pass two places in main memory."""
    block = 2 * 12 * 32 * 4
    inputs = {"sub_group": "14000", "swap_activations": f"{5 * block} B"}
    given = small.scenario("ssd.count=2", gpus=gpus, **inputs)
    room = Fuyou(given).host_bytes + int(gpus * block * blocks)
    run = small.train(fuyou, "ssd.count=2", f"cpu.dram.capacity={room} B", gpus=gpus, **inputs)
    assert run.outcome.figures["spilled_blocks"] == spilled
    kept = (4 - spilled) + min(2, spilled)
    assert run.occupancy.peak_bytes["cpu", "dram"] == Fuyou(given).host_bytes + gpus * block * kept
    on_drives = [buffer for buffer in run.memory.buffers if buffer.device == "ssd1" and "activations" in buffer.name]
    assert len(on_drives) == gpus * spilled


@pytest.mark.parametrize("strategy", [zero_infinity, zero_offload, colossalai])
@pytest.mark.parametrize("gpus", [2, 3])
def test_the_baselines_train_on_every_gpu(small, strategy, gpus: int) -> None:
    small.train(strategy, "ssd.count=2", gpus=gpus)


@pytest.mark.parametrize(("dp", "tp", "save"), [(3, 1, "inputs"), (1, 4, "all"), (2, 2, "all"), (2, 2, "inputs")])
def test_replicas_and_ranks_train_what_one_gpu_does(small, dp: int, tp: int, save: str) -> None:
    """A model with biases everywhere, and a tied table."""
    small.train(train_gpu_only, gpus=dp, ranks=tp, dp=f"{dp}", tp=f"{tp}", save=save)


def test_ranks_share_grouped_heads_and_gates(small) -> None:
    small.train(train_gpu_only, gpus=2, ranks=2, model="tiny-llama", dp="2", tp="2")
