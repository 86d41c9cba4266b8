"""Recomputation on the virtual clock: as fast as everything in GPU memory where that fits, and slower where not."""

from __future__ import annotations

import pytest

from controller.errors import BadWorkload
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.strategies import vllm_recompute as recompute

TOKEN = 12 * 2 * 768 * 2
"""Bytes of the KV cache of one token of OPT-125M, in fp16."""
WEIGHTS = 2 * 125.2e6
"""Bytes of its weights."""
GIB = 2**30
TIGHT = "gpu.hbm.capacity=2.8 GB"
"""Room for some of 16 requests beside 0.25 GB of weights and what vLLM takes itself."""


def run(strategy: str = "vllm_recompute", *overrides: str, batch=16, prompt=200, output=200, **fields) -> Experiment:
    request = RunSpec(
        strategy, fields.pop("model", "opt-125m"), overrides=overrides, batch=batch, prompt_tokens=prompt,
        output_tokens=output, **fields,
    )  # fmt: skip
    return run_experiment(request)


@pytest.mark.parametrize("model", ["opt-125m", "gemma-3-270m"])
@pytest.mark.parametrize("effective", [None, 90.0])
def test_where_everything_fits_it_is_as_fast_as_gpu_only(model: str, effective: float | None) -> None:
    ours = run(model=model, effective_context=effective)
    plain = run("gpu_only", model=model, effective_context=effective)
    assert ours.outcome.figures["preemptions"] == 0
    assert ours.tokens_per_s == pytest.approx(plain.tokens_per_s, rel=0.02)
    assert ours.tokens_per_s <= 1.005 * plain.tokens_per_s
    for phase in ("prefill", "decode"):
        assert ours.outcome.phases[phase] == pytest.approx(plain.outcome.phases[phase], rel=0.03)


def test_what_does_not_fit_is_recomputed_and_costs_time() -> None:
    tight, roomy = run("vllm_recompute", TIGHT), run()
    reports = tight.outcome.reports()
    assert reports["kv_capacity_tokens"] < 16 * 400
    assert reports["preemptions"] > 0
    assert reports["recomputed_tokens"] > 200 * reports["preemptions"]
    assert reports["generated_tokens"] == 16 * 200
    assert tight.tokens_per_s < 0.85 * roomy.tokens_per_s
    assert tight.outcome.phases["prefill"] > roomy.outcome.phases["prefill"]
    # As often as there were iterations, although each composition was executed once.
    count = {entry.label: entry.count for entry in tight.outcome.op_times}["lm_head"]
    assert count == reports["iterations"] > reports["plans_executed"]


def test_rounded_and_exact_compositions_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rounded = run("vllm_recompute", TIGHT)
    monkeypatch.setattr(recompute, "GRAIN", 0)
    exact = run("vllm_recompute", TIGHT)
    assert exact.outcome.figures["plans_executed"] > 2 * rounded.outcome.figures["plans_executed"]
    assert rounded.tokens_per_s == pytest.approx(exact.tokens_per_s, rel=0.01)


def test_the_knob_shortens_what_attention_reads_and_leaves_the_course() -> None:
    whole, short = run("vllm_recompute", TIGHT), run("vllm_recompute", TIGHT, effective_context=30.0)
    assert short.outcome.phases["decode"] < whole.outcome.phases["decode"]
    assert short.outcome.phases["prefill"] == whole.outcome.phases["prefill"]
    for report in ("preemptions", "recomputed_tokens", "iterations", "kv_capacity_tokens"):
        assert short.outcome.reports()[report] == whole.outcome.reports()[report]


def test_the_pool_is_what_the_share_of_the_memory_leaves() -> None:
    capacity = 2.8e9
    small, large = (run("vllm_recompute", TIGHT, options={"utilisation": share}) for share in ("0.86", "0.9"))
    tokens = [each.outcome.figures["kv_capacity_tokens"] for each in (small, large)]
    # Whole blocks of 16 tokens.
    assert (tokens[1] - tokens[0]) * TOKEN == pytest.approx(0.04 * capacity, abs=16 * TOKEN)
    assert large.tokens_per_s > small.tokens_per_s
    for each, share in ((small, 0.86), (large, 0.9)):
        assert each.outcome.peak_bytes["gpu.hbm"] <= share * capacity


@pytest.mark.parametrize(("batch", "prompt", "output"), [(7, 2000, 40), (300, 30, 3), (60, 200, 200)])
def test_weights_pool_and_the_widest_scratch_fill_the_share(batch: int, prompt: int, output: int) -> None:
    """Long passes, many rows that are rounded, recomputation: never beyond it, and little is left."""
    outcome = run("vllm_recompute", "gpu.hbm.capacity=3 GB", batch=batch, prompt=prompt, output=output).outcome
    # What is set aside for scratch is what an eager framework keeps, of which values in an arena take two thirds.
    assert 0 <= 0.9 * 3e9 - outcome.peak_bytes["gpu.hbm"] < 100e6


def test_layers_over_two_gpus() -> None:
    ours, plain = (run(strategy, "gpu.count=2", batch=8, output=30) for strategy in ("vllm_recompute", "gpu_only"))
    assert ours.tokens_per_s == pytest.approx(plain.tokens_per_s, rel=0.02)


def test_too_little_for_one_request_is_out_of_memory() -> None:
    experiment = run("vllm_recompute", "gpu.hbm.capacity=1 GB")
    assert not experiment.outcome.ok
    assert experiment.outcome.ended.startswith("OOM at gpu.hbm: ")
    # To hold all at once: weights, 16 requests of 399 cached tokens in 25 blocks, what vLLM takes, and scratch.
    need = experiment.outcome.shortages[0].need_bytes
    least = WEIGHTS + 16 * 400 * TOKEN + 1.79 * GIB
    assert least < need < least + 0.2e9


def test_a_live_run_is_refused_with_the_reason() -> None:
    with pytest.raises(BadWorkload, match=r"virtually only.*gpu_only"):
        run_experiment(RunSpec("vllm_recompute", "tiny-opt", batch=1, prompt_tokens=4, output_tokens=2, live=True))


def test_a_share_that_is_none() -> None:
    with pytest.raises(BadWorkload, match=r"utilisation is '1\.5'"):
        run(options={"utilisation": "1.5"})
