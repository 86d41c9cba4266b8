"""The same run in two processes with different hash seeds gives the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = {
    "instinfer": ("instinfer", "--topology", "a6000_2csd", "--option", "mini_batches=3"),
    "flexgen": ("flexgen",),
}


@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
def test_two_processes_agree(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    words = (*arguments, "--model", "tiny-opt", "--batch", "5", "--prompt-tokens", "40", "--output-tokens", "20")
    started = []
    for seed in ("1", "271828"):
        folder = tmp_path / seed
        folder.mkdir()
        command = [sys.executable, "-m", "controller.cli.main", "run", *words, "--trace", "trace.json", "--json"]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        started.append(
            (folder, subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True))
        )
    documents, traces = [], []
    for folder, process in started:
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 0
        document = json.loads(output)
        assert document.pop("wall_s") > 0
        documents.append(json.dumps(document))  # the order of keys counts too
        traces.append((folder / "trace.json").read_bytes())
    assert documents[0] == documents[1]
    assert traces[0] == traces[1]
    assert len(json.loads(traces[0])["traceEvents"]) > 1000
