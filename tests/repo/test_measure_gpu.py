"""The script that measures a GPU refuses clearly where there is none, and its tables have names that validate knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from controller.devices.predict.ask import QUESTIONS

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "measure_gpu"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=100)


def test_without_a_gpu_it_measures_nothing_and_says_so(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so the script would measure it")
    done = run(str(tmp_path / "out"))
    assert done.returncode == 2
    assert "sees no CUDA GPU; nothing was measured" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_part_is_named():
    done = run("out", "--only", "gemm,flops")
    assert done.returncode == 2
    assert "--only flops" in done.stderr


def test_the_columns_are_those_that_validate_asks_for():
    text = SCRIPT.read_text()
    ast.parse(text)
    for name, header in re.findall(r'yield "(\w+?)(?:_bf16)?", (?:header|ATTENTION_HEADER|\[(.*?)\])', text):
        if name in QUESTIONS and header:
            given = re.findall(r'"(\w+)"', header)
            needed = [column.name for column in QUESTIONS[name].columns if column.default is None]
            assert set(needed) <= set(given), name
            assert given[-1] == "latency_us"
