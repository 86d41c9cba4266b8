"""Toy hardware of round numbers, so that every expected time is a sum that can be done in the head."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from controller.execute.outcome import Outcome
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.plan.ops import Plan
from controller.strategies.of_your_own import outside_buffers
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

SHEETS = {
    "toy_gpu": """
        product: toy_gpu
        kind: gpu
        description: 100 GB/s each way, 1 TFLOP/s
        tiers:
          hbm: {storage: dram, capacity: ~1 GB, read: ~100 GB/s, write: ~100 GB/s}
        compute:
          tensor: {peak: {fp32: ~1 TFLOP/s}}
          vector: {peak: {fp32: ~1 TFLOP/s}}
        ports:
          pcie: {read: ~1 TB/s, write: ~1 TB/s}
        queues:
          stream: {kind: compute}
          side: {kind: compute}
          copy: {kind: copy}
        """,
    "toy_eager": """
        product: toy_eager
        kind: gpu
        description: the same behind a host that needs 10 us to launch a kernel
        tiers:
          hbm: {storage: dram, capacity: ~1 GB, read: ~100 GB/s, write: ~100 GB/s}
        compute:
          vector: {peak: {fp32: ~1 TFLOP/s}}
        queues:
          stream: {kind: compute, launch: ~1 us}
          host: {kind: issue, launch: ~10 us}
        """,
    "toy_cpu": """
        product: toy_cpu
        kind: cpu
        description: 50 GB/s each way
        tiers:
          dram: {storage: dram, capacity: ~1 GB, read: ~50 GB/s, write: ~50 GB/s}
        compute:
          vector: {peak: {fp32: ~1 TFLOP/s}}
        ports:
          pcie: {read: ~1 TB/s, write: ~1 TB/s}
        queues:
          cores: {kind: compute}
        """,
    "toy_drive": """
        product: toy_drive
        kind: csd
        description: one bus for reading at 8 GB/s and writing at 2 GB/s
        tiers:
          flash:
            storage: flash
            simplex: true
            capacity: ~1 TB
            read: ~8 GB/s
            write: ~2 GB/s
            read_latency: ~100 us
            page: ~4096 B
        ports:
          pcie: {read: ~1 TB/s, write: ~1 TB/s}
        """,
}

DEVICES = ("cpu: {product: toy_cpu}", "gpu: {product: toy_gpu, count: 2}", "eager: {product: toy_eager}",
           "drive: {product: toy_drive}")  # fmt: skip

CLUSTER = """
name: toy
hosts:
  host0:
    switches: [root]
    devices:
      DEVICES
    links:
      - {ends: [cpu.pcie, root], bandwidth: ~10 GB/s, latency: ~1 us}
      - {ends: [gpu.pcie, root], bandwidth: ~10 GB/s, latency: ~1 us}
      - {ends: [drive.pcie, root], bandwidth: ~10 GB/s, latency: ~1 us}
"""


def cited(text: str) -> str:
    """``~10 GB/s`` as a quantity with kind and source."""
    return re.sub(r"~([\d.]+ [^,}\s]+)", r"{value: \1, kind: assumed, source: test}", text)


LoadToy = Callable[..., Topology]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> LoadToy:
    """``toy(*overrides, turned=False)``: the cluster, its devices declared in one order or the other."""
    folder = tmp_path_factory.mktemp("toy")
    for name, sheet in SHEETS.items():
        (folder / f"{name}.yaml").write_text(cited(sheet))
    for name, devices in (("cluster", DEVICES), ("turned", DEVICES[::-1])):
        declared = tmp_path_factory.mktemp(name) / "toy.yaml"
        declared.write_text(cited(CLUSTER.replace("DEVICES", "\n      ".join(devices))))
    kept: dict[tuple[object, ...], Topology] = {}

    def load(*overrides: str, turned: bool = False) -> Topology:
        if (turned, *overrides) not in kept:
            path = next(folder.parent.glob(f"{'turned' if turned else 'cluster'}*")) / "toy.yaml"
            kept[turned, *overrides] = load_topology(path, overrides, [folder])
        return kept[turned, *overrides]

    return load


Spans = dict[str, tuple[float, float]]
Timed = Callable[..., tuple[Outcome, Spans]]


@pytest.fixture
def timed(toy: LoadToy) -> Timed:
    """Runs plans at once, each as a program, and gives the outcome with start and end of every label [s].

    Buffers that no plan allocates are placed before. A label must stand for one op; launches are left out.
    """

    def run(plans: Plan | Sequence[Plan], topology: Topology | None = None, **sizes: int) -> tuple[Outcome, Spans]:
        everything = [plans] if isinstance(plans, Plan) else list(plans)
        placed = dict.fromkeys(buffer for plan in everything for buffer in outside_buffers(plan))
        trace = Trace()

        def program(plan: Plan):
            def go(run):
                if plan is everything[0]:
                    for buffer in placed:
                        run.place(buffer, written=True)
                yield run.submit(plan, **sizes)

            return go

        outcome = run_virtual(topology or toy(), [program(plan) for plan in everything], trace=trace)
        found: Spans = {}
        for span in trace.spans:
            if span.name == "launch":
                continue
            assert found.setdefault(span.name, (span.start_at, span.end_at)) == (span.start_at, span.end_at)
        return outcome, found

    return run
