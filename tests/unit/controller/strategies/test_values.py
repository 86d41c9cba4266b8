"""Strategies generate what the plain decoder does: spreads, mini-batches and lengths of every kind, in this process.

Each on its own topology is in tests/unit/controller/conformance. The live tests show the same with processes. Plans run
in program order and as far backwards as their edges allow, on buffers that start as NaN.
"""

import pytest

from controller.strategies.deepspeed import deepspeed
from controller.strategies.flexgen import flexgen
from controller.strategies.gpu_only import gpu_only
from controller.strategies.instinfer import instinfer

STRATEGIES = {"gpu_only": gpu_only, "flexgen": flexgen, "deepspeed": deepspeed, "instinfer": instinfer}
HOME = {"instinfer": "a6000_csd"}
MODELS = ("tiny-opt", "tiny-llama", "tiny-gemma")


@pytest.mark.parametrize(("model", "drives"), [("tiny-opt", 3), *((m, n) for m in MODELS[1:] for n in (2, 3, 5))])
def test_spread_over_drives(local, model: str, drives: int) -> None:
    """Heads where there are enough, tokens and merged partial attentions otherwise; unevenly too."""
    size = {"batch": 2, "prompt": 7, "output": 36}
    run = local.generate(instinfer, model, "a6000_csd", f"csd.count={drives}", backwards=True, **size)
    local.check(run, model, **size)


@pytest.mark.parametrize(("batch", "mini_batches"), [(1, "1"), (3, "1"), (3, "2"), (3, "3")])
def test_mini_batches_change_nothing(local, batch: int, mini_batches: str) -> None:
    size = {"batch": batch, "prompt": 5, "output": 18}
    for model in ("tiny-opt", "tiny-gemma"):
        run = local.generate(
            instinfer, model, "a6000_2csd", options={"mini_batches": mini_batches}, backwards=True, **size
        )
        local.check(run, model, **size)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_layers_over_two_gpus(local, strategy: str) -> None:
    size = {"batch": 3, "prompt": 6, "output": 18}
    topology = HOME.get(strategy, "a6000_ssd")
    for model in ("tiny-llama", "tiny-gemma"):
        run = local.generate(STRATEGIES[strategy], model, topology, "gpu.count=2", backwards=True, **size)
        local.check(run, model, **size)


@pytest.mark.parametrize(("strategy", "cache"), [("deepspeed", "swap"), ("flexgen", "dram")])
@pytest.mark.parametrize("model", ["tiny-opt", "tiny-gemma"])
def test_wherever_the_cache_lies(local, strategy: str, cache: str, model: str) -> None:
    size = {"batch": 2, "prompt": 6, "output": 18}
    run = local.generate(
        STRATEGIES[strategy], model, "a6000_ssd", "gpu.count=2", options={"cache": cache}, backwards=True, **size
    )
    local.check(run, model, **size)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("prompt", "output"), [(1, 1), (1, 2), (16, 17), (32, 1)])
def test_the_shortest_runs(local, strategy: str, prompt: int, output: int) -> None:
    size = {"batch": 1, "prompt": prompt, "output": output}
    for model in ("tiny-opt", "tiny-gemma"):
        run = local.generate(STRATEGIES[strategy], model, HOME.get(strategy, "a6000_ssd"), **size)
        local.check(run, model, **size)


@pytest.mark.parametrize("model", ["tiny-mixtral", "tiny-deepseek", "tiny-gpt-oss"])
@pytest.mark.parametrize("gpus", [1, 2])
def test_experts_and_latents_in_gpu_memory(local, model: str, gpus: int) -> None:
    """A prompt expands latents and a new token absorbs them; experts get uneven rows, some of them none."""
    size = {"batch": 3, "prompt": 7, "output": 20}
    run = local.generate(gpu_only, model, "a6000_ssd", f"gpu.count={gpus}", backwards=True, **size)
    local.check(run, model, **size)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_experts_where_attention_is_elsewhere(local, strategy: str) -> None:
    size = {"batch": 2, "prompt": 6, "output": 18}
    run = local.generate(STRATEGIES[strategy], "tiny-mixtral", HOME.get(strategy, "a6000_ssd"), **size)
    local.check(run, "tiny-mixtral", **size)


def test_more_drives_than_prompt_tokens(local) -> None:
    """Some drives hold nothing of the prompt."""
    size = {"batch": 2, "prompt": 3, "output": 20}
    run = local.generate(instinfer, "tiny-gemma", "a6000_csd", "csd.count=5", backwards=True, **size)
    local.check(run, "tiny-gemma", **size)


def test_prompts_that_take_several_passes(local, monkeypatch) -> None:
    """The batch does not divide by the rows of a pass."""
    monkeypatch.setattr("controller.offload.gpu_model.PREFILL_TOKENS", 20)
    size = {"batch": 5, "prompt": 9, "output": 6}
    for strategy, topology in ((instinfer, "a6000_2csd"), (flexgen, "a6000_ssd"), (gpu_only, "a6000_ssd")):
        run = local.generate(strategy, "tiny-llama", topology, backwards=True, **size)
        local.check(run, "tiny-llama", **size)
