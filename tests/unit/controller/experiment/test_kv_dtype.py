"""``--kv-dtype``: bytes of caches in every strategy that sizes one, their time, and the error of rounded values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.cli.main import main
from controller.errors import BadWorkload
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.models.catalog import load_model
from controller.models.formats import in_formats

GENERATING = ("gpu_only", "dram_kv", "flexgen", "deepspeed", "cxl_kv", "instinfer", "lamina", "vllm_tp")


def request(strategy: str, kind: str | None, **changes) -> RunSpec:
    options = {"mini_batches": "1"} if strategy == "instinfer" else {"dop": "1,1"} if strategy == "lamina" else {}
    fields = {"batch": 4, "prompt_tokens": 24, "output_tokens": 4, "options": options, "kv_dtype": kind, **changes}
    return RunSpec(strategy, "tiny-opt", **fields)


def peaks(strategy: str, kind: str | None) -> int:
    found = run_experiment(request(strategy, kind, prompt_tokens=500))
    return sum(found.outcome.peak_bytes.values()) if found.outcome.ok else -1


@pytest.mark.parametrize("strategy", ["gpu_only", "dram_kv", "flexgen", "deepspeed", "cxl_kv", "instinfer"])
def test_a_cache_in_fp8_saves_at_least_half_its_bytes(strategy):
    shape = load_model("tiny-opt")
    kept = 4 * 504 * shape.kv_bytes_per_token()
    whole, eight = peaks(strategy, None), peaks(strategy, "fp8")
    assert whole - eight >= 0.4 * kept and whole > 0


@pytest.mark.parametrize("strategy", ["gpu_only", "dram_kv", "instinfer"])
@pytest.mark.parametrize("kind", ["fp16", "fp8", "int8"])
def test_values_stay_within_the_stated_error(strategy, kind):
    found = run_experiment(request(strategy, kind, local=True)).comparison
    assert found["rounded"] == f"KV cache in {kind}" and found["values_equal"]
    # The reference of instinfer is that of its drives, which rounds no cache: there the tolerance is the wide one.
    most = 0.7 if strategy == "instinfer" else 0.2
    assert 0 < found["logit_error_ratio"] <= found["logit_error_tolerance"] <= most


@pytest.mark.parametrize("model", ["tiny-opt", "tiny-deepseek"])
def test_a_program_that_caches_as_the_reference_has_its_logits(model):
    """Attention of gpu_only reads every token but those of its own pass from the cache, and so does the reference."""
    found = run_experiment(replace(request("gpu_only", "fp8", local=True), model=model)).comparison
    assert found["logit_error_ratio"] < 1e-4 and found["tokens_equal"] == found["tokens_compared"]
    assert "a cache in fp8" in found["reference"]


def test_a_cache_in_the_type_of_the_arithmetic_rounds_nothing():
    found = run_experiment(request("gpu_only", "auto", local=True)).comparison
    assert "rounded" not in found and found["tokens_equal"] == found["tokens_compared"]


def test_names_of_other_tools_are_understood_and_unknown_ones_refused():
    shape = load_model("tiny-opt")
    assert in_formats(shape, None, None, "fp8_e4m3").kv_dtype == "fp8"
    assert 2 * in_formats(shape, None, None, "bfloat16").kv_bytes_per_token() == shape.kv_bytes_per_token()
    assert 4 * in_formats(shape, None, None, "fp8").kv_bytes_per_token() == shape.kv_bytes_per_token()
    with pytest.raises(BadWorkload, match="--kv-dtype 'fp8_e5m2': types of KV caches are auto, fp32"):
        in_formats(shape, None, None, "fp8_e5m2")


def test_what_has_no_such_cache_is_refused(capsys):
    for arguments in (
        ["run", "flexgen_sparq", "--kv-dtype", "fp8"],
        ["run", "train_gpu_only", "--model", "tiny-opt", "--kv-dtype", "fp8"],
        ["run", "instinfer", "--compression", "0.125", "--kv-dtype", "fp8"],
    ):
        assert main(arguments) == 2
        assert "KV cache" in capsys.readouterr().err


def test_a_comparison_sweeps_it():
    from controller.compare.candidates import parse_candidate
    from controller.compare.question import parse_axis, points

    found = points(request("gpu_only", None), (parse_candidate("gpu_only"),), (parse_axis("kv-dtype=auto,fp8"),))
    assert [point.request.kv_dtype for point in found] == ["auto", "fp8"]
