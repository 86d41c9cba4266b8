"""Iterations of devices that share experts: one of them stands for all."""

import pytest

from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.serving_setup import ServingSetup
from controller.experiment.serving_spec import ServeSpec
from controller.serving.device_times.expert_times import busiest
from controller.serving.iteration_times import IterationLoad

MODEL = "qwen3-30b-a3b"


def times(model: str, ep: int):
    spec = ServeSpec(model, "dgx_h100", ep=ep, host_step_s=0.0, host_sequence_s=0.0, max_model_len=4096)
    return ServingSetup(spec).device_times[0]


def test_the_busiest_device_decides() -> None:
    load = IterationLoad(10, 1000, ((50, 0), (30, 8), (30, 0), (20, 4)), 4)
    share = busiest(load, 2)
    assert (share.rows, share.context_tokens) == (5, 500)
    assert sum(tokens for tokens, _ in share.chunks) == 70
    assert busiest(IterationLoad(9, 90), 4) == IterationLoad(3, 30)
    assert busiest(IterationLoad(0, 0, ((7, 0),), 1), 8).chunks == ((7, 0),)


def test_a_decode_step_takes_as_long_as_that_of_all_devices_executed() -> None:
    """The strategy executes eight ranks with every message between them; its prompts apart, 3 steps of 64 requests."""
    found = run_experiment(RunSpec("expert_parallel", MODEL, "dgx_h100", batch=64, prompt_tokens=512, output_tokens=4))
    steps = times(MODEL, 8).decode_steps_s(64, 64 * 513, 3)
    assert sum(steps) == pytest.approx(found.outcome.phases["decode"], rel=0.08)


def test_more_devices_take_less_each_and_a_chunk_of_latents_makes_cached_keys_again() -> None:
    two, eight = times(MODEL, 2), times(MODEL, 8)
    load = IterationLoad(64, 64 * 1000)
    assert eight.iteration_s(load) < two.iteration_s(load)
    latents = times("deepseek-v2-lite", 8)
    whole, rest = latents.chunk_s(1024, 0), latents.chunk_s(512, 512)
    assert latents.chunk_s(512, 0) < rest < whole


def test_a_step_of_many_is_the_same_as_each_alone() -> None:
    found = times("deepseek-v2-lite", 4)
    steps = found.decode_steps_s(16, 16 * 100, 3)
    assert steps[2] == pytest.approx(found.iteration_s(IterationLoad(16, 16 * 102)), rel=1e-6)
