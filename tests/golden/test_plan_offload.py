"""The whole timeline of a small offloading step, derived by hand.

**Two layers whose weights are fetched from the host, the second while the first computes, and whose output goes back.**

Hardware, in MB and ms (1 GB/s = 1 MB/ms): GPU memory is one bus of 4 MB/ms for reads and writes; arithmetic 1 GFLOP/ms;
a kernel takes 2 ms to launch on the host and 1 ms to start on the device. Both links carry 4 MB/ms each way and cost
0.5 ms each, so a transfer pays 1 ms. Host memory is fast.

A layer is a linear of x (1000 x 2000), w (2000 x 2000) and out (1000 x 2000) in fp32: 8 + 16 + 8 = 32 MB and 8 GFLOP.
Alone it takes 8 ms by arithmetic as by memory, so it flows at 4 MB/ms. Beside another flow the bus gives 2 to each.

====  ==========================================================================================================
at    what happens
====  ==========================================================================================================
0     fetch 1 starts and pays 1 ms; the host launches linear 1 (to 2), linear 2 (to 4) and the activation (to 6)
1     fetch 1 flows at 4 (links and bus alike): 16 MB take 4 ms
5     fetch 1 ends. Linear 1 starts, fetch 2 follows in the copy queue; both pay 1 ms
6     linear 1 and fetch 2 share the bus at 2 each: the 16 MB of fetch 2 take 8 ms
14    fetch 2 ends; linear 1 has 32 - 16 = 16 MB left and flows at 4
18    linear 1 ends. Linear 2 starts; the first output leaves for the host; both pay 1 ms
19    linear 2 and the store share the bus at 2 each: the 8 MB of the store take 4 ms
23    the store ends; linear 2 has 32 - 8 = 24 MB left and flows at 4
29    linear 2 ends; the activation starts and pays 1 ms
30    the activation reads 8 MB and writes 8 MB at 4
34    the end
====  ==========================================================================================================

On the bus: 2 x 16 fetched, 2 x 32 by the linears, 8 stored, 16 by the activation: 120 MB, 30 of the 34 ms.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.check import check_plan
from controller.plan.ops import Buffer, Plan
from controller.strategies.of_your_own import outside_buffers
from controller.topology.loader import load_topology

GPU = """
product: golden_gpu
kind: gpu
description: see above
tiers:
  hbm: {storage: dram, simplex: true, capacity: ~1 GB, read: ~4 GB/s, write: ~4 GB/s}
compute:
  tensor: {peak: {fp32: ~1 TFLOP/s}}
  vector: {peak: {fp32: ~1 TFLOP/s}}
ports:
  pcie: {read: ~100 GB/s, write: ~100 GB/s}
queues:
  stream: {kind: compute, launch: ~1 ms}
  copy_out: {kind: copy}
  issue: {kind: issue, launch: ~2 ms}
"""

HOST = """
product: golden_host
kind: cpu
description: see above
tiers:
  dram: {storage: dram, capacity: ~1 GB, read: ~100 GB/s, write: ~100 GB/s}
ports:
  pcie: {read: ~100 GB/s, write: ~100 GB/s}
queues:
  copy_out: {kind: copy}
"""

CLUSTER = """
name: golden
hosts:
  host0:
    switches: [root]
    devices:
      cpu: {product: golden_host}
      gpu: {product: golden_gpu}
    links:
      - {ends: [cpu.pcie, root], bandwidth: ~4 GB/s, latency: ~0.5 ms}
      - {ends: [gpu.pcie, root], bandwidth: ~4 GB/s, latency: ~0.5 ms}
"""

TIMELINE_MS = {
    "fetch 1": (0, 5),
    "fetch 2": (5, 14),
    "linear 1": (5, 18),
    "store": (18, 23),
    "linear 2": (18, 29),
    "activation": (29, 34),
}
LAUNCHES_MS = [(0, 2), (2, 4), (4, 6)]


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("golden")
    for name, text in (("golden_gpu", GPU), ("golden_host", HOST), ("cluster", CLUSTER)):
        quantities = re.sub(r"~([\d.]+ [^,}\s]+)", r"{value: \1, kind: assumed, source: golden}", text)
        (folder / f"{name}.yaml").write_text(quantities)
    return load_topology(folder / "cluster.yaml", (), [folder])


def step() -> Plan:
    """Two layers; nothing but reads and writes says what waits for what."""

    def here(name: str, rows: int) -> Buffer:
        return Buffer("gpu", "hbm", name, "fp32", (rows, 2000))

    build = PlanBuilder("two layers")
    source = here("x", 1000)
    for layer in (1, 2):
        weight, out = here(f"w{layer}", 2000), here(f"out{layer}", 1000)
        at_home = Buffer("cpu", "dram", f"w{layer}", "fp32", (2000, 2000))
        build.transfer(at_home, weight, queue="copy_out", label=f"fetch {layer}")
        build.kernel("linear", "gpu", [source, weight], [out], label=f"linear {layer}")
        if layer == 1:
            build.transfer(out, Buffer("cpu", "dram", "kept", "fp32", (1000, 2000)), queue="copy_out", label="store")
        source = out
    build.kernel("activation", "gpu", [source], [source], kind="relu")
    return build.plan()


def program(run):
    plan = step()
    for buffer in outside_buffers(plan):
        run.place(buffer, written=True)
    yield run.submit(plan)


def test_the_timeline_is_the_one_derived_above(topology) -> None:
    check_plan(step(), topology)
    trace = Trace()
    outcome = run_virtual(topology, [program], trace=trace)
    assert outcome.time_s * 1e3 == pytest.approx(34, abs=1e-9)
    for name, instants in TIMELINE_MS.items():
        spans = {(span.start_at * 1e3, span.end_at * 1e3) for span in trace.spans if span.name == name}
        assert len(spans) == 1, f"{name} is drawn at different times on its tracks: {spans}"
        assert spans.pop() == pytest.approx(instants, abs=1e-9), name
    launches = [(span.start_at * 1e3, span.end_at * 1e3) for span in trace.spans if span.name == "launch"]
    assert launches == [pytest.approx(instants, abs=1e-9) for instants in LAUNCHES_MS]


def test_the_bus_was_busy_as_counted_above(topology) -> None:
    resources = {use.name: use for use in run_virtual(topology, [program]).resources}
    bus = resources["gpu.hbm.simplex"]
    assert (bus.busy_s * 1e3, bus.busy_ratio) == (pytest.approx(30), pytest.approx(30 / 34))
    assert resources["gpu.pcie-root<"].amount == pytest.approx(32e6)
    assert resources["gpu.pcie-root>"].amount == pytest.approx(8e6)
    assert resources["gpu.stream"].busy_s * 1e3 == pytest.approx(13 + 11 + 5)
