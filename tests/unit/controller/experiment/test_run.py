"""A request from names to a result: what is loaded, refused, reported, and compared."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controller.errors import BadOverride, BadWorkload, UnknownModel, UnknownStrategy
from controller.experiment.result import assumptions
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.experiment.values import compare_generation
from controller.experiment.virtual import prepare, virtual_scenario
from controller.report.json_output import dumps

SMALL = RunSpec("gpu_only", "tiny-opt", batch=2, prompt_tokens=8, output_tokens=4)

KEYS = {
    "strategy", "topology", "model", "workload", "outcome", "time_s", "wall_s", "phases_wall_s", "paced_s", "prefill_s",
    "decode_s", "tokens_per_s", "by_resource", "assumed", "overruns", "provenance", "trace",
}  # fmt: skip
"""What scripts may rely on."""


def test_the_object_of_a_run_has_every_stable_key() -> None:
    document = json.loads(dumps(run_experiment(SMALL).to_json()))
    assert set(document) >= KEYS
    assert (document["strategy"], document["topology"], document["model"]) == ("gpu_only", "a6000_ssd", "tiny-opt")
    assert document["outcome"] == "ok"
    assert document["time_s"] == pytest.approx(document["prefill_s"] + document["decode_s"])
    assert document["tokens_per_s"] == pytest.approx(2 * 4 / document["time_s"])
    assert document["paced_s"] is None and document["trace"] is None and document["overruns"] == 0
    assert set(document["provenance"]) >= {"version", "topology_digest", "seed", "overrides"}
    assert len(document["provenance"]["topology_digest"]) == 64
    assert document["workload"]["batch"] == 2
    assert {"name", "kind", "busy_s", "busy_ratio", "amount"} <= set(document["by_resource"][0])


def test_overrides_are_reported_and_change_the_time() -> None:
    plain = run_experiment(SMALL)
    slow = run_experiment(replace(SMALL, overrides=("gpu.hbm.read=7 GB/s", "gpu.hbm.write=7 GB/s")))
    assert slow.outcome.time_s > plain.outcome.time_s
    assert slow.to_json()["provenance"]["overrides"] == ["gpu.hbm.read=7 GB/s", "gpu.hbm.write=7 GB/s"]
    assert slow.topology.digest != plain.topology.digest


def test_assumed_constants_are_told_with_their_source_once_a_product() -> None:
    _, topology, _ = prepare(RunSpec("instinfer", "tiny-opt", overrides=("csd.count=3",)))
    found = [(entry.device, entry.path) for entry in assumptions(topology)]
    assert ("csd", "flash.capacity") in found
    assert len(found) == len(set(found))
    assert all(entry.source for entry in assumptions(topology))


def test_running_out_of_memory_has_no_throughput() -> None:
    experiment = run_experiment(replace(SMALL, overrides=("gpu.hbm.capacity=100 kB",)))
    document = experiment.to_json()
    assert document["outcome"].startswith("OOM at gpu.hbm: ")
    assert document["tokens_per_s"] is None
    assert "missing" in document["outcome"]


def test_a_virtual_run_is_in_the_published_type() -> None:
    strategy, topology, shape = prepare(RunSpec("gpu_only", "opt-13b"))
    scenario = virtual_scenario(RunSpec("gpu_only", "opt-13b"), strategy, topology, shape)
    assert (scenario.dtype, scenario.prompt_tokens, scenario.weights) == ("fp16", 32, None)
    assert strategy.name == "gpu_only"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"prompt": "Hello"}, BadWorkload, "--live"),
        ({"pace": 10.0}, BadWorkload, "--live"),
        ({"strategy": "gpu_onyl"}, UnknownStrategy, "gpu_only"),
        ({"model": "tiny-otp"}, UnknownModel, "tiny-opt"),
        ({"options": {"mini_batches": "2"}}, BadWorkload, "mini_batches"),
        ({"overrides": ("gpu.hbm.raed=1 GB/s",)}, BadOverride, "read"),
        ({"batch": 0}, BadWorkload, "batch"),
        ({"output_tokens": 0}, BadWorkload, "output"),
        ({"prompt_tokens": 10**6}, BadWorkload, "positions"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run_experiment(replace(SMALL, **change))


def test_a_trace_is_kept_when_it_is_asked_for(tmp_path: Path) -> None:
    experiment = run_experiment(replace(SMALL, trace=tmp_path / "trace.json"))
    assert experiment.trace is not None and experiment.trace.spans
    assert run_experiment(SMALL).trace is None
    assert experiment.outcome.time_s == run_experiment(SMALL).outcome.time_s


def test_the_model_may_be_a_configuration(tmp_path: Path) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128, "max_position_embeddings": 64,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "torch_dtype": "float16",
    }  # fmt: skip
    folder = tmp_path / "small-llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in (folder, folder / "config.json"):
        assert run_experiment(replace(SMALL, model=str(name))).to_json()["model"] == "small-llama"


def logits(*best: int) -> np.ndarray:
    """(steps, 1 row, 4 tokens), each with one token ahead."""
    values = np.zeros((len(best), 1, 4), np.float32)
    values[np.arange(len(best)), 0, best] = 1.0
    return values


def test_equal_generations() -> None:
    found = compare_generation([[1, 2, 3]], logits(1, 2, 3), [(1, 2, 3)], logits(1, 2, 3) + 0.125)
    assert (found["tokens_equal"], found["tokens_compared"], found["max_logit_difference"]) == (3, 3, 0.125)


def test_logits_are_compared_while_the_context_is_equal() -> None:
    """The third step continues another text, so that its logits say nothing."""
    found = compare_generation([[1, 0, 3]], logits(1, 0, 3) * 8, [(1, 2, 3)], logits(1, 2, 3))
    assert (found["tokens_equal"], found["tokens_compared"], found["max_logit_difference"]) == (2, 3, 8.0)


def test_a_reference_that_ended_counts_up_to_its_end() -> None:
    found = compare_generation([[1, 2, 3, 0]], logits(1, 2, 3, 0), [(1, 2)], logits(1, 2))
    assert (found["tokens_equal"], found["tokens_compared"]) == (2, 2)


def test_a_run_that_stopped_early_is_not_equal() -> None:
    found = compare_generation([[1]], logits(1), [(1, 2, 3)], logits(1, 2, 3))
    assert (found["tokens_equal"], found["tokens_compared"]) == (1, 3)


def test_a_value_that_is_no_number_is_not_equal_to_one() -> None:
    logits = np.zeros((2, 1, 3))
    found = compare_generation([[1, 1]], [logits[0], np.full((1, 3), np.nan)], [[1, 1]], logits)
    assert np.isnan(found["max_logit_difference"])


@pytest.mark.parametrize("strategy", ["gpu_only", "dram_kv", "instinfer", "vllm_recompute"])
def test_a_window_and_an_effective_context_go_together(strategy: str) -> None:
    asked = RunSpec(strategy, "gemma-3-1b", prompt_tokens=1024, output_tokens=4, effective_context=600.0)
    assert run_experiment(asked).outcome.ok


@pytest.mark.parametrize("strategy", ["vllm_tp", "lamina"])
def test_an_effective_context_that_a_strategy_cannot_read_is_refused(strategy: str) -> None:
    with pytest.raises(BadWorkload, match="remove --effective-context"):
        run_experiment(RunSpec(strategy, "opt-1.3b", batch=4, effective_context=20.0))


def test_training_has_no_effective_context() -> None:
    with pytest.raises(BadWorkload, match="are for generation"):
        run_experiment(RunSpec("zero_offload", "tiny-opt", effective_context=20.0))


def test_devices_beside_those_that_work_are_named() -> None:
    (note,) = run_experiment(replace(SMALL, strategy="flexgen", overrides=("ssd.count=4",))).outcome.notes
    assert note == "3 of the 4 devices of ssd take no part: ssd1 to ssd3"
    assert run_experiment(SMALL).outcome.notes == []
