"""The machine code on disk belongs to the sources it was made from, and can be made with checks of every index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.engine import compiled
from controller.engine.compiled import fingerprint

REFERENCE = Path(__file__).parents[3] / "property" / "engine_reference.py"

CHECKED = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("engine_reference", sys.argv[1])
reference = importlib.util.module_from_spec(spec)
sys.modules["engine_reference"] = reference
spec.loader.exec_module(reference)
from controller.engine.compiled import compiled

@compiled
def peek(values, i):
    return values[i]

try:
    peek(np.zeros(3), 3)
except IndexError:
    pass
else:
    raise SystemExit("indices are not checked")
for seed in range(40):
    scenario = reference.drawn(np.random.default_rng(seed))
    assert reference.agree(scenario), f"seed {seed}"
print("checked")
"""


def test_the_fingerprint_follows_the_sources_and_the_checks(monkeypatch, tmp_path):
    here = fingerprint()
    assert here == fingerprint() >= 0
    monkeypatch.setattr(compiled._numba.config, "BOUNDSCHECK", 1)
    assert fingerprint() != here
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    (tmp_path / "solver.py").write_text("one")
    one = fingerprint()
    (tmp_path / "solver.py").write_text("two")
    assert fingerprint() != one


@pytest.mark.slow
def test_no_index_leaves_its_array():
    # numba checks no bounds unless it is told to before it is imported.
    root = Path(__file__).parents[4]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", CHECKED, str(REFERENCE)],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "checked\n"
