"""A catalog of three tiny products and a way to load a topology from text; nothing here is a real device."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from controller.topology.loader import load_topology

SHEETS = {
    "toy_host": """
        product: toy_host
        kind: cpu
        description: a host
        tiers:
          dram:
            storage: dram
            simplex: true
            capacity: {value: 64 GiB, kind: datasheet, source: test}
            read: {value: 100 GB/s, kind: datasheet, source: test}
            write: {value: 50 GB/s, kind: assumed, source: test}
        ports:
          pcie:
            read: {value: 64 GB/s, kind: datasheet, source: test}
            write: {value: 64 GB/s, kind: datasheet, source: test}
        """,
    "toy_gpu": """
        product: toy_gpu
        kind: gpu
        description: an accelerator
        tiers:
          hbm:
            storage: dram
            capacity: {value: 8 GiB, kind: datasheet, source: test}
            read: {value: 800 GB/s, kind: datasheet, source: test}
            write: {value: 400 GB/s, kind: datasheet, source: test}
            total: {value: 900 GB/s, kind: datasheet, source: test}
            read_latency: {value: 300 ns, kind: datasheet, source: test}
        compute:
          tensor: {peak: {bf16: {value: 100 TFLOP/s, kind: datasheet, source: test}}}
        ports:
          pcie:
            read: {value: 32 GB/s, kind: datasheet, source: test}
            write: {value: 30 GB/s, kind: datasheet, source: test}
            latency: {value: 200 ns, kind: datasheet, source: test}
            pageable: {value: 10 GB/s, kind: measured, source: test}
          nvlink:
            read: {value: 50 GB/s, kind: datasheet, source: test}
            write: {value: 50 GB/s, kind: datasheet, source: test}
        queues:
          copy_out: {kind: copy}
          stream: {kind: compute}
        """,
    "toy_drive": """
        product: toy_drive
        kind: csd
        description: a drive
        tiers:
          flash:
            storage: flash
            simplex: true
            capacity: {value: 1 TB, kind: assumed, source: test}
            read: {value: 8 GB/s, kind: datasheet, source: test}
            write: {value: 4 GB/s, kind: datasheet, source: test}
            read_latency: {value: 40 us, kind: datasheet, source: test}
            write_latency: {value: 10 us, kind: datasheet, source: test}
            page: {value: 4 KiB, kind: datasheet, source: test}
        ports:
          pcie:
            read: {value: 7 GB/s, kind: datasheet, source: test}
            write: {value: 6 GB/s, kind: datasheet, source: test}
            latency: {value: 100 ns, kind: datasheet, source: test}
        """,
}

TOY = """\
name: toy
hosts:
  host0:
    switches: [root]
    devices:
      cpu: {product: toy_host}
      gpu: {product: toy_gpu}
      csd: {product: toy_drive, count: 2}
    links:
      - {ends: [cpu.pcie, root], bandwidth: 64 GB/s, latency: 400 ns}
      - {ends: [gpu.pcie, root], bandwidth: 32 GB/s, latency: 500 ns}
      - {ends: [csd.pcie, root], forward: 7 GB/s, backward: 6.5 GB/s, latency: 1 us}
options: {seed: "7"}
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A folder with the toy sheets."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    for name, sheet in SHEETS.items():
        (folder / f"{name}.yaml").write_text(dedent(sheet))
    return folder


@pytest.fixture
def toy_text() -> str:
    """The text of the toy topology; line 1 is its name."""
    return TOY


@pytest.fixture
def load(tmp_path: Path, catalog: Path):
    """load(text, *overrides) -> Topology, from a file called toy.yaml."""

    def loaded(text: str = TOY, *overrides: str):
        path = tmp_path / "toy.yaml"
        path.write_text(text)
        return load_topology(path, overrides, [catalog])

    return loaded
