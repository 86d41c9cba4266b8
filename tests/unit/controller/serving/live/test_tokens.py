"""Tokens of every request are those of its own greedy generation, whatever was batched, preempted, swapped or moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.experiment.serving_live import serve_live
from controller.experiment.serving_spec import ServeSpec
from controller.serving.live.page_table import PageTable, stretches

TIGHT = {"requests": "inf", "lengths": "in=14,out=10", "num_prompts": 3, "kv_tokens": 64}


def answered(topology: str, scheduler: str = "vllm", model: str = "tiny-opt", **more: object):
    spec = ServeSpec(
        model, topology, scheduler, host_step_s=1e-3, limits={"max_requests": 4, "budget_tokens": 16},
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    found, checked = serve_live(spec, local=True)
    assert checked.tokens_equal == checked.tokens_compared == found.metrics.output_tokens > 0
    assert checked.requests_equal == len(found.states)
    return found


@pytest.mark.parametrize("scheduler", ["vllm", "vllm_swap", "sarathi", "fastswitch"])
def test_preempted_swapped_and_chunked(scheduler: str) -> None:
    found = answered("a6000_ssd", scheduler, **TIGHT)
    assert sum(each.progress.preemptions for each in found.instances) > 0


GEMMA = {
    "model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 96, "rms_norm_eps": 1e-6,
    "max_position_embeddings": 128, "rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 16,
    "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
}  # fmt: skip


def test_migrated_in_stages_over_two_ranks_each_with_windows_and_rotation(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GEMMA))
    found = answered(
        "a10_4", "sarathi", str(tmp_path / "config.json"), cluster="llumnix", instances=2, tp=2,
        cluster_options={"out": 300, "into": 1, "period": 0.002}, requests="poisson:300/s",
        lengths="in=20,out=12", num_prompts=3, kv_tokens=320,
    )  # fmt: skip
    assert found.cluster is not None and found.cluster.moves.migrations > 0


def test_pulled_from_instances_for_prompts() -> None:
    found = answered(
        "a10_4", cluster="distserve", instances=2, requests="inf", lengths="in=20,out=6", num_prompts=3, kv_tokens=320
    )
    assert found.cluster is not None and found.cluster.moves.migrations == 3


def test_pages_that_follow_each_other_are_one_copy() -> None:
    assert stretches([3, 4, 5, 9], [0, 1, 2, 3]) == [(3, 0, 3), (9, 3, 1)]
    table = PageTable(3, 16)
    assert table.hold(7, 17) == [0, 1] and table.hold(8, 1) == [2]
    table.keep({8})
    assert table.pages(7) == [] and table.hold(9, 32) == [0, 1]
