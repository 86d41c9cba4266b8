"""Quantised weights with values: equal to plain torch with the same roundings, and their error against fp32 stated."""

from __future__ import annotations

import pytest

from controller.errors import BadWorkload
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec


def run(quantization: str, topology: str | None = None, model: str = "tiny-opt", strategy: str = "gpu_only"):
    request = RunSpec(
        strategy, model, topology, batch=2, prompt_tokens=9, output_tokens=5, local=True, quantization=quantization
    )
    return run_experiment(request)


@pytest.mark.parametrize("quantization", ["int4", "mxfp4"])
@pytest.mark.parametrize("strategy", ["gpu_only", "dram_kv"])
def test_weights_alone_give_the_tokens_of_the_same_weights_in_plain_torch(quantization, strategy):
    found = run(quantization, strategy=strategy).comparison
    assert found["tokens_equal"] == found["tokens_compared"] == 10
    assert found["logit_error_ratio"] < 1e-4 < found["fp32_logit_error_ratio"]


@pytest.mark.parametrize("quantization", ["fp8", "fp8-block", "int8"])
def test_rounded_activations_stay_within_the_stated_error(quantization):
    found = run(quantization, "offload_h100").comparison
    assert found["values_equal"] and found["rounded"].startswith("activations in 8 bits by")
    assert found["logit_error_ratio"] <= found["logit_error_tolerance"]


def test_a_chip_without_fp8_converts_weights_and_says_so():
    found = run("fp8", "a6000_ssd")
    assert any("rtx_a6000 has no peak for products in fp8" in note for note in found.shape.notes)
    assert found.comparison["tokens_equal"] == 10 and "rounded" not in found.comparison


def test_activations_are_quantised_by_kernels_of_their_own():
    by_op = str(run("fp8", "offload_h100").to_json()["by_op"])
    assert "quantise activations" in by_op and "quantise activations" not in str(run("int4").to_json()["by_op"])


def test_an_unknown_format_is_refused():
    with pytest.raises(BadWorkload, match="--quantization 'fp3': formats are none, fp8"):
        run("fp3")
