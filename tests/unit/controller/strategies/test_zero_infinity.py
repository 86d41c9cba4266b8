"""The schedules of the baselines: what they move, what they hold, and that nothing of them overlaps."""

from functools import lru_cache

import pytest

from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.offload.fresh_pages import FAULT_S
from controller.strategies.zero_infinity import BYTES_A_PARAMETER


@lru_cache(maxsize=32)
def run(strategy: str, model: str, batch: int, *overrides: str) -> Experiment:
    return run_experiment(RunSpec(strategy, model, overrides=overrides, batch=batch))


def label_s(found: Experiment, label: str) -> float:
    return sum(entry.time_s for entry in found.outcome.op_times if entry.label == label)


def test_the_optimizer_is_a_stage_of_its_own():
    for strategy in ("zero_infinity", "zero_offload", "colossalai"):
        assert list(run(strategy, "gpt-6b", 8).outcome.phases) == ["forward", "backward", "optimizer"]


def test_kernels_copies_and_drives_take_turns():
    """Stages take the sum of what is done in them; requests are counted once for their twelve stripes."""
    found = run("zero_infinity", "gpt-6b", 16)
    drives = sum(label_s(found, f"ssd {what}") for what in (
        "parameters in", "gradients out", "states in", "gradients in", "states out", "parameters out",
    )) / 12  # fmt: skip
    copies = sum(label_s(found, what) for what in (
        "parameters in", "gradients out", "activations out", "activations in",
    ))  # fmt: skip
    kernels = sum(use.busy_s for use in found.outcome.resources if use.name in ("gpu0.stream", "cpu.cores"))
    assert found.outcome.time_s == pytest.approx(drives + copies + kernels, rel=0.03)


def test_gpus_without_peer_access_pay_the_calls_between_them():
    """Parts go from GPU to GPU twice, gradients once, half of each at the rate of the library: all in the open."""
    parameters, rate = load_model("gpt-6b").parameter_count, 10e9
    two = run("zero_infinity", "gpt-6b", 8, "gpu.count=2")
    sent_s = {what: label_s(two, f"{what} between gpus") / 2 for what in ("parameters", "gradients")}
    # The embedding is fetched once more for the logits. Channels bring a rank's own share of a sum at twice the rate.
    assert sent_s["parameters"] == pytest.approx(2 * parameters / rate, rel=0.07)
    assert sent_s["gradients"] == pytest.approx(1.5 * parameters / rate, rel=0.07)
    faster = run("zero_infinity", "gpt-6b", 8, "gpu.count=2", "options.collective.simple.rate=20 GB/s")
    saved_s = two.outcome.time_s - faster.outcome.time_s
    assert saved_s == pytest.approx(3.5 * parameters / rate / 2, rel=0.1)


def test_zero_infinity_moves_gradients_to_the_drives_and_back():
    found, parameters = run("zero_infinity", "gpt-6b", 8), load_model("gpt-6b").parameter_count
    moved = {side: sum(use.amount for use in found.outcome.resources if use.name.startswith("ssd") and
                       use.name.endswith(f"pcie.{side}")) for side in ("read", "write")}  # fmt: skip
    assert moved["read"] == pytest.approx(18 * parameters, rel=0.03)
    assert moved["write"] == pytest.approx(16 * parameters, rel=0.01)


def test_zero_infinity_takes_main_memory_by_the_parameter():
    held = run("zero_infinity", "gpt-6b", 8).outcome.peak_bytes["cpu.dram"]
    inputs = 27 * 2 * 8 * 1024 * 4096
    assert held == pytest.approx(BYTES_A_PARAMETER * load_model("gpt-6b").parameter_count + inputs, rel=0.01)


def test_zero_offload_keeps_sixteen_bytes_a_parameter_in_main_memory():
    found = run("zero_offload", "gpt-6b", 8)
    assert found.outcome.peak_bytes["cpu.dram"] == 16 * load_model("gpt-6b").parameter_count
    assert not any(use.name.startswith("ssd") for use in found.outcome.resources)


def test_block_inputs_on_the_gpu_are_what_zero_offload_lacks_room_for():
    infinity, offload = (run(name, "gpt-6b", 8).outcome.peak_bytes["gpu0.hbm"] for name in (
        "zero_infinity", "zero_offload",
    ))  # fmt: skip
    assert offload - infinity == 27 * 2 * 8 * 1024 * 4096


def test_pageable_copies_are_slower():
    assert run("colossalai", "gpt-6b", 8).outcome.time_s > run("zero_offload", "gpt-6b", 8).outcome.time_s


def test_what_leaves_for_memory_that_is_allocated_anew_faults_page_by_page():
    """12.9 GB/s of a pageable copy are 0.32 us a page, and its fault is 1.01 us: the two add up."""
    out, parameters = run("colossalai", "gpt-6b", 8), load_model("gpt-6b").parameter_count
    page_s = 4096 / 12.9e9 + FAULT_S
    assert label_s(out, "gradients out") == pytest.approx(2 * parameters / 4096 * page_s, rel=0.01)
    # Parameters come into memory that the GPU holds.
    assert label_s(out, "parameters in") < 0.5 * 4 * parameters / 4096 * page_s


def test_flashneuron_holds_sixteen_bytes_a_parameter_on_the_gpu():
    found = run("flashneuron", "gpt2-xl", 1)
    held = found.outcome.peak_bytes["gpu0.hbm"]
    assert 16 * load_model("gpt2-xl").parameter_count < held < 24 * 2**30
    assert not run("flashneuron", "gpt-6b", 1).outcome.ok
