"""A researcher's own strategy, device and cluster, all outside of the checkout, by the command line alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.live

SHEET = """
    product: my_accelerator
    kind: npu
    description: an accelerator of my own with a small fast memory
    tiers:
      hbm: {storage: dram, capacity: ~64 MB, read: ~100 GB/s, write: ~100 GB/s}
    compute:
      tensor: {peak: {fp32: ~1 TFLOP/s}}
      vector: {peak: {fp32: ~1 TFLOP/s}}
    ports:
      port: {read: ~10 GB/s, write: ~10 GB/s}
    queues:
      stream: {kind: compute}
      copy_out: {kind: copy}
"""

TOPOLOGY = """
    name: my_cluster
    hosts:
      here:
        switches: [bus]
        devices:
          npu: {product: my_accelerator, count: 2}
          cpu: {product: xeon_5320}
        links:
          - {ends: [npu.port, bus], bandwidth: ~10 GB/s, latency: ~1 us}
          - {ends: [cpu.pcie, bus], bandwidth: ~10 GB/s, latency: ~1 us}
"""

STRATEGY = '''
    """Weights in host memory, fetched when they are needed; the result is checked where there are values."""

    import numpy as np

    from controller.plan.build import PlanBuilder
    from controller.plan.ops import Buffer

    ROWS, WIDTH = 64, 1000
    HOST = [Buffer("cpu", "dram", f"w{i}", "fp32", (WIDTH, WIDTH)) for i in range(2)]
    X, Y, Z = (Buffer("npu0", "hbm", name, "fp32", (ROWS, WIDTH)) for name in "xyz")
    COPIES = [Buffer(device, "hbm", "copy", "fp32", (ROWS, WIDTH)) for device in ("npu0", "npu1")]


    def fetched(layer, source, target):
        """Brings a layer's weights to the accelerator for as long as they are used."""
        here = Buffer("npu0", "hbm", "w", "fp32", (WIDTH, WIDTH))
        build = PlanBuilder(f"layer {layer}")
        build.alloc(here)
        build.transfer(HOST[layer], here, label="fetch")
        build.kernel("linear", "npu0", [source, here], [target])
        build.free(here)
        return build.plan()


    def spread():
        build = PlanBuilder("spread")
        build.transfer(Z, COPIES, label="spread")
        return build.plan()


    def offload(run, scenario):
        random = np.random.default_rng(scenario.seed)
        weights = [random.standard_normal((WIDTH, WIDTH), dtype=np.float32) for _ in HOST]
        x = random.standard_normal((ROWS, WIDTH), dtype=np.float32)
        for buffer, content in zip((*HOST, X), (*weights, x)):
            run.place(buffer, content)
        for buffer in (Y, Z, *COPIES):
            run.place(buffer)
        for layer, pair in enumerate(((X, Y), (Y, Z))):
            yield run.submit(fetched(layer, *pair))
            run.mark(f"layer {layer}")
        yield run.delay(0.001)
        yield run.submit(spread())
        values = yield run.fetch(COPIES[1])
        if values is not None:
            run.figure("worst", float(np.abs(values - x @ weights[0].T @ weights[1].T).max()))

    offload.topology = "my_cluster.yaml"


    def my_plan(scenario):
        """One layer, as a plan."""
        return fetched(0, X, Y)

    my_plan.topology = "my_cluster.yaml"
'''


def cited(text: str) -> str:
    return re.sub(r"~([\d.]+ [^,}\s]+)", r"{value: \1, kind: assumed, source: mine}", dedent(text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The strategy, the cluster, and a folder of device sheets."""
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "my_accelerator.yaml").write_text(cited(SHEET))
    (tmp_path / "my_cluster.yaml").write_text(cited(TOPOLOGY))
    (tmp_path / "my_file.py").write_text(dedent(STRATEGY))
    return tmp_path


def windtunnel(folder: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "controller.cli.main", *words, "--catalog", "sheets"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def document(folder: Path, *words: str) -> dict:
    return json.loads(windtunnel(folder, *words, "--json").stdout)


# Fetch: the latency of two links and of the host's memory, then 4 MB at 10 GB/s. Linear: 2 x 64 x 1000 x 1000 FLOP at
# 1 TFLOP/s. Spread: 256 kB over the bus, beside the same within the accelerator at 100 GB/s.
FETCH_S = 2e-6 + 81e-9 + 4e-4
LAYER_S = FETCH_S + 1.28e-4
SPREAD_S = 2e-6 + 2.56e-5


def test_a_plan_on_a_cluster_of_ones_own(folder: Path) -> None:
    found = document(folder, "run", "my_file.py:my_plan", "--model", "tiny-opt")
    assert (found["strategy"], found["topology"], found["outcome"]) == ("my_file.py:my_plan", "my_cluster", "ok")
    assert found["time_s"] == pytest.approx(LAYER_S)
    assert found["peak_bytes"]["npu0.hbm"] == 4_000_000 + 2 * 256_000
    assert ["npu", "hbm.read"] in [[entry["device"], entry["path"]] for entry in found["assumed"]]
    assert found["tokens_per_s"] is None


def test_a_program_virtual_and_live(folder: Path) -> None:
    words = ("run", "my_file.py:offload", "--model", "tiny-opt")
    virtual, live = document(folder, *words), document(folder, *words, "--live")
    assert virtual["time_s"] == live["time_s"] == pytest.approx(2 * LAYER_S + 1e-3 + SPREAD_S, rel=1e-6)
    assert virtual["phases"] == live["phases"]
    assert [virtual["phases"][f"layer {layer}"] for layer in range(2)] == pytest.approx([LAYER_S] * 2)
    assert "worst" not in virtual["reports"]
    assert live["reports"]["worst"] < 0.05, "products of a thousand terms in float32"
    assert virtual["peak_bytes"] == live["peak_bytes"]


def test_paths_and_overrides(folder: Path) -> None:
    other = folder / "clusters"
    other.mkdir()
    (folder / "my_cluster.yaml").rename(other / "renamed.yaml")
    words = ("run", str(folder / "my_file.py:my_plan"), "--topology", "clusters/renamed.yaml", "--model", "tiny-opt")
    assert document(folder, *words)["time_s"] == pytest.approx(LAYER_S)
    faster = document(
        folder, *words, "--set", "link.npu0.port-bus.bandwidth=20 GB/s", "--set", "npu.tensor.peak.fp32=2 TFLOP/s"
    )
    assert faster["time_s"] == pytest.approx(FETCH_S + 0.64e-4)


def test_its_plans_can_be_shown_and_checked(folder: Path) -> None:
    shown = document(folder, "plan", "show", "my_file.py:offload", "--model", "tiny-opt")
    assert [plan["plan"] if "plan" in plan else plan["name"] for plan in shown["plans"]] == [
        "layer 0",
        "layer 1",
        "spread",
    ]
    windtunnel(folder, "plan", "check", "my_file.py:offload", "--model", "tiny-opt")


def test_a_memory_that_is_too_small_is_a_result(folder: Path) -> None:
    words = ("run", "my_file.py:my_plan", "--model", "tiny-opt", "--set", "npu.hbm.capacity=4 MB")
    found = document(folder, *words)
    assert found["outcome"].startswith("OOM at npu0.hbm: 512000 bytes missing")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "my_file.py:my_plam"), "did you mean 'my_plan'"),
        (("run", "my_file.py:my_plan", "--topology", "absent.yaml"), "absent.yaml"),
        (("run", "my_file.py:my_plan", "--set", "npu.hbm.raed=1 GB/s"), "read"),
        (("run", "my_file.py:my_plan", "--set", "npu.hbm.read=1"), "unit"),
    ],
)
def test_mistakes_are_told_without_a_traceback(folder: Path, words: tuple[str, ...], said: str) -> None:
    assert said in windtunnel(folder, *words, "--model", "tiny-opt", status=2).stderr
