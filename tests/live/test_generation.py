"""Strategies on node processes generate, token by token, what the plain run generates.

Many more cases run in one process in tests/unit/controller/strategies/test_values.py; here is what only processes show.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from controller.errors import DeviceUnreachable
from controller.execute.live import run_live
from controller.execute.virtual import run_virtual
from controller.experiment.result import Experiment
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import LIVE_DTYPE, RunSpec
from controller.launch import launch
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.models.weights import open_weights
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.strategies.instinfer import instinfer
from controller.strategies.table import lookup
from controller.topology.loader import load_topology

pytestmark = pytest.mark.live

DEADLINE_S = 5.0
"""How long a run may go on after one of its nodes died [s of wall time]."""

GEMMA = {
    "model_type": "gemma3_text", "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 200,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 16, "sliding_window": 12, "torch_dtype": "float32",
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "hidden_act": "silu", "torch_dtype": "float32",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path):
    """Writes a ``config.json`` and gives its path, as ``--model`` takes it."""

    def write(keys: dict) -> str:
        path = tmp_path / keys["model_type"] / "config.json"
        path.parent.mkdir()
        path.write_text(json.dumps(keys))
        return str(path)

    return write


def generated(request: RunSpec) -> Experiment:
    """Runs a request live; its values are right and its time is the virtual one."""
    experiment = run_experiment(request)
    found = experiment.comparison
    assert experiment.outcome.ok
    assert (found["tokens_equal"], found["tokens_compared"]) == (request.batch * request.output_tokens,) * 2
    assert 0 < found["max_logit_difference"] < 1e-3
    assert len({token for row in found["tokens"] for token in row}) > 2, "a text of one token would hide mistakes"
    program = lookup(request.strategy).program()
    again = run_virtual(experiment.topology, [lambda run: program(run, experiment.scenario)])
    assert experiment.outcome.time_s == again.time_s
    assert experiment.outcome.peak_bytes == again.peak_bytes
    phases = experiment.phases_wall_s
    assert list(phases) == ["load", "survey", "start", "place", "run", "stop", "reference"]
    assert phases["place"] + phases["run"] == pytest.approx(experiment.outcome.wall_s, abs=1.0)
    return experiment


def live(strategy: str, model: str = "tiny-opt", *overrides: str, **fields) -> RunSpec:
    return RunSpec(strategy, model, overrides=overrides, live=True, **fields)


def test_one_drive_through_two_full_groups() -> None:
    """42 tokens: groups of 16 fill, go to flash, and are read from there."""
    experiment = generated(live("instinfer", batch=2, prompt_tokens=9, output_tokens=42))
    assert experiment.outcome.peak_bytes["csd0.flash"] > experiment.outcome.peak_bytes["csd0.dram"]


def test_heads_over_two_drives_in_uneven_mini_batches(config) -> None:
    """Two KV heads for four query heads, one KV head a drive; three rows in two mini-batches."""
    request = live("instinfer", config(LLAMA), batch=3, prompt_tokens=7, output_tokens=18)
    generated(RunSpec(**{**vars(request), "topology": "a6000_2csd", "options": {"mini_batches": "2"}}))


def test_tokens_over_three_drives_and_a_window_that_leaves_the_prompt(config) -> None:
    """One KV head for three drives: partial attentions are merged; the window of 12 is shorter than the text."""
    generated(live("instinfer", config(GEMMA), "csd.count=3", batch=1, prompt_tokens=8, output_tokens=22))


def test_layers_over_two_gpus(config) -> None:
    generated(live("instinfer", config(LLAMA), "gpu.count=2", batch=1, prompt_tokens=5, output_tokens=5))


@pytest.mark.parametrize(
    ("strategy", "batch"), [("gpu_only", 1), ("flexgen", 3), ("deepspeed", 2), ("dram_kv", 2), ("cxl_kv", 2)]
)
def test_baselines(strategy: str, batch: int) -> None:
    generated(live(strategy, batch=batch, prompt_tokens=6, output_tokens=6))


@pytest.mark.parametrize("model", ["tiny-mixtral", "tiny-deepseek", "tiny-gpt-oss"])
def test_experts_and_latents(model: str) -> None:
    generated(live("gpu_only", model, batch=3, prompt_tokens=7, output_tokens=9))


def test_programs_beside_each_other() -> None:
    """Three programs share a GPU and two drives, with pauses; each doubles its values twelve times."""
    topology = load_topology("a6000_2csd")

    def doubling(number: int, drive: str):
        here, own = (Buffer("gpu", "hbm", f"{name}{number}", "fp32", (256,)) for name in ("x", "twice"))
        kept = Buffer(drive, "flash", f"kept{number}", "fp32", (256,))
        build = PlanBuilder(f"doubling {number}")
        build.alloc(own)
        build.kernel("add", "gpu", [here, here], [own])
        build.transfer(own, kept)
        build.transfer(kept, here)
        build.free(own)
        plan = build.plan()

        def program(run):
            run.place(here, np.ones(256, np.float32))
            run.place(kept)
            for _ in range(12):
                yield run.submit(plan)
                yield run.delay(1e-4 * number)
            for buffer in (here, kept):
                values = yield run.fetch(buffer)
                if values is not None:
                    assert (values == 2.0**12).all()
                    run.figure(str(buffer), "right")

        return program

    programs = [doubling(1, "csd0"), doubling(2, "csd1"), doubling(3, "csd0")]
    with launch(topology) as cluster:
        outcome = run_live(topology, programs, cluster)
    assert outcome.ok
    assert list(outcome.figures.values()) == ["right"] * 6
    assert outcome.time_s == run_virtual(topology, programs).time_s


def test_a_node_killed_in_the_middle_ends_the_run_with_its_name(twins, runs_folder: Path) -> None:
    shape = load_model("tiny-opt")
    topology = load_topology("a6000_2csd")
    ids = np.arange(8, dtype=np.int64).reshape(1, 8)
    scenario = Scenario(topology, shape, 1, 8, 200, LIVE_DTYPE, open_weights(shape, 0), ids)
    shared = set(os.listdir("/dev/shm"))
    killed_at: list[float] = []

    with pytest.raises(DeviceUnreachable, match="csd1"), launch(topology) as cluster:

        def kill(done: int, total: int, what: str) -> None:
            if what == "decode" and done == 3:
                os.kill(cluster.processes["csd1"], signal.SIGKILL)
                killed_at.append(time.monotonic())

        try:
            run_live(topology, [lambda run: instinfer(run, scenario)], cluster, progress=kill)
        finally:
            ended_at = time.monotonic()
    assert ended_at - killed_at[0] < DEADLINE_S
    assert not twins.leftovers(runs_folder, shared)
