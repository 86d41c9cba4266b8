"""Lamina and its baseline generate what the plain decoder does, in this process: all kinds of pools and turns."""

from __future__ import annotations

import pytest

from controller.errors import BadWorkload
from controller.strategies.lamina import lamina
from controller.strategies.vllm_tp import vllm_tp

SIZE = {"batch": 5, "prompt": 6, "output": 6}
MEMORY = ("model.count=4", "memory.count=4")


@pytest.mark.parametrize("overlap", ["on", "off"])
@pytest.mark.parametrize(
    ("dop", "stagger"), [("1,1", "1"), ("2,2", "2"), ("1,2", "2"), ("2,1", "2"), ("2,2", "3"), ("4,2", "5")]
)
def test_pools_and_turns(local, dop: str, stagger: str, overlap: str) -> None:
    """KV heads split over memory devices, ranks that share one, two and four replicas with their migration."""
    model = "tiny-opt" if dop == "4,2" else "tiny-llama"
    options = {"dop": dop, "stagger": stagger, "overlap": overlap}
    run = local.generate(lamina, model, "lamina", *MEMORY, options=options, backwards=True, **SIZE)
    local.check(run, model, **SIZE)
    assert list(run.phases) == ["prefill", "decode"]
    assert run.result.generated_tokens == 30


def test_heads_that_do_not_divide(local) -> None:
    """Four KV heads over two ranks and three memory devices: one rank keeps one piece, the other has three."""
    options = {"dop": "2,3", "stagger": "2"}
    run = local.generate(lamina, "tiny-opt", "lamina", *MEMORY, options=options, backwards=True, **SIZE)
    local.check(run, "tiny-opt", **SIZE)


def test_a_window_norms_of_heads_and_a_tied_head(local) -> None:
    size = {"batch": 2, "prompt": 9, "output": 24}
    run = local.generate(lamina, "tiny-gemma", "lamina", *MEMORY, options={"dop": "1,1"}, backwards=True, **size)
    local.check(run, "tiny-gemma", **size)


@pytest.mark.parametrize(("model", "gpus"), [("tiny-opt", "4"), ("tiny-llama", "2"), ("tiny-gemma", "1")])
def test_tensor_parallel(local, model: str, gpus: str) -> None:
    run = local.generate(vllm_tp, model, "lamina", *MEMORY, options={"gpus": gpus}, backwards=True, **SIZE)
    local.check(run, model, **SIZE)


def test_prompts_from_elsewhere_have_no_values(local) -> None:
    with pytest.raises(BadWorkload, match="prompts from elsewhere have no values"):
        local.generate(lamina, "tiny-opt", "lamina", *MEMORY, options={"dop": "1,1", "prefill": "elsewhere"})


def test_streams_are_for_the_virtual_clock(local) -> None:
    with pytest.raises(BadWorkload, match="virtual clock only"):
        local.generate(lamina, "tiny-opt", "lamina", *MEMORY, options={"dop": "1,1", "requests": "azure_conv"})
