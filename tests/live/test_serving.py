"""Requests answered on node processes, batched as they come."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openai
import psutil
import pytest

from controller.cli.main import main
from controller.experiment.serving_live import serve_live
from controller.experiment.serving_spec import ServeSpec
from controller.models.catalog import load_model
from controller.models.reference import generate_reference
from controller.models.weights import open_weights

pytestmark = pytest.mark.live


def test_answers_of_nodes_are_those_of_a_plain_run(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "serve", "--live", "--model", "tiny-opt", "--topology", "a10_4", "--instances", "2", "--cluster", "llumnix",
        "--cluster-option", "out=300", "--cluster-option", "into=1", "--cluster-option", "period=0.002",
        "--scheduler", "sarathi", "--max-num-batched-tokens", "16", "--requests", "poisson:300/s", "--lengths",
        "in=20,out=8", "--num-prompts", "5", "--kv-tokens", "320", "--json", "--save-detailed",
    ]  # fmt: skip
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["completed"] == 5 and made["cluster"]["migrations"] > 0
    assert made["values"]["tokens_equal"] == made["values"]["tokens_compared"] == 40
    assert [len(answer) for answer in made["values"]["answers"]] == [8] * 5


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gemma_answers_in_chunks_and_after_preemptions() -> None:
    spec = ServeSpec(
        "gemma-3-270m", "a6000_ssd", "sarathi", "inf", "in=40,out=12", 4, kv_tokens=160,
        limits={"max_requests": 4, "budget_tokens": 24},
    )  # fmt: skip
    found, checked = serve_live(spec)
    assert sum(each.progress.preemptions for each in found.instances) > 0
    assert checked.tokens_equal == checked.tokens_compared == 48


def test_an_endpoint_computes_its_tokens_and_leaves_nothing_behind() -> None:
    words = ["serve", "--live", "--model", "tiny-opt", "--topology", "a6000_ssd", "--http", "127.0.0.1:0"]
    command = [sys.executable, "-m", "controller.cli.main", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        line = next(line for line in server.stderr if line.startswith("tiny-opt at http"))
        assert "tokens are computed on nodes" in line
        nodes = psutil.Process(server.pid).children(recursive=True)
        prompts = [[5, 9, 200, 3], list(range(40, 60))]
        with openai.OpenAI(base_url=line.split()[2].rstrip(";"), api_key="none", max_retries=0) as client:
            streams = [
                client.completions.create(model="tiny-opt", prompt=prompt, max_tokens=6, stream=True)
                for prompt in prompts
            ]
            texts = ["".join(chunk.choices[0].text for chunk in stream) for stream in streams]
        server.send_signal(signal.SIGINT)
        assert server.wait(60) in (0, 130, -signal.SIGINT)
    weights = open_weights(load_model("tiny-opt"))
    for prompt, text in zip(prompts, texts, strict=True):
        expected = generate_reference(weights, np.array([prompt]), 6, ()).tokens[0]
        assert text.split() == [str(token) for token in expected]
    psutil.wait_procs(nodes, 10)
    assert nodes and not any(node.is_running() and node.status() != psutil.STATUS_ZOMBIE for node in nodes)


def test_a_killed_node_costs_its_instance_and_no_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults:\n  - {target: gpu_a0, kind: dead, at: 6 ms}\n")
    words = [
        "serve", "--live", "--model", "tiny-opt", "--topology", "a10_4", "--instances", "2", "--cluster",
        "round_robin", "--requests", "inf", "--lengths", "in=10,out=8", "--num-prompts", "4", "--kv-tokens", "320",
        "--host-step", "1 ms", "--faults", str(faults), "--json",
    ]  # fmt: skip
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["completed"] == 4 and made["faults"]["requests_resent"] == 2
    assert made["faults"]["lost_kv_blocks"] == 2 and made["instances"][0]["iterations"] < 8
    assert made["values"]["tokens_equal"] == made["values"]["tokens_compared"] == 32
