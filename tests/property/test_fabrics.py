"""Generated fabrics have the sizes that arithmetic says, and a matrix that is imported is the one that is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.topology.graph import routes_of
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology
from controller.topology.matrix import matrix_of

BLOCK = """\
name: drawn
fabric:
  kind: leaf_spine
  leaves: 1
  hosts_per_leaf: 1
  spines: 1
  host:
    devices: {gpu: {product: h100_sxm, count: 1}}
    uplinks: [gpu.pcie]
  link: {bandwidth: 400 Gb/s, latency: 1 us}
"""

LEVELS = ("SYS", "NODE", "PHB", "PXB", "PIX")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("fabrics")
    (made / "drawn.yaml").write_text(BLOCK)
    return made


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.sampled_from((0.5, 1, 2, 3)))
def test_a_leaf_spine_network_of_any_size(folder, leaves, hosts, spines, gpus, ratio):
    numbers = {
        "leaves": leaves, "hosts_per_leaf": hosts, "spines": spines, "host.devices.gpu.count": gpus,
        "oversubscription": ratio,
    }  # fmt: skip
    fabric = load_topology(folder / "drawn.yaml", [f"fabric.{key}={value}" for key, value in numbers.items()])
    devices = leaves * hosts * gpus
    assert len(fabric.devices) == devices and len(fabric.links) == devices + leaves * spines
    up = sum(link.forward_bytes_per_s for link in fabric.links if link.name.startswith("leaf0"))
    assert up * ratio == pytest.approx(hosts * gpus * 50e9)
    for b in range(1, devices):
        paths = routes_of(fabric).paths("gpu0", f"gpu{b}")
        far = b // (hosts * gpus) > 0
        assert (len(paths), len(paths[0].hops)) == ((spines, 4) if far else (1, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 1)] * 4), min_size=1, max_size=7), st.integers(1, 7))
def test_a_matrix_comes_back_as_it_was_imported(folder, places, gpu_count):
    """A place is (NUMA node, host bridge, PCIe bridge, PCIe switch); what two share first decides their label."""
    gpu_count = min(gpu_count, len(places))
    names = [f"GPU{i}" for i in range(gpu_count)] + [f"NIC{i}" for i in range(len(places) - gpu_count)]

    def label(a: int, b: int) -> str:
        if a == b:
            return "X"
        shared = next((depth for depth in range(4) if places[a][depth] != places[b][depth]), 4)
        return LEVELS[shared]

    rows = [[label(a, b) for b in range(len(places))] for a in range(len(places))]
    lines = ["\t" + "\t".join(names) + "\tCPU Affinity\tNUMA Affinity"]
    for name, row, place in zip(names, rows, places, strict=True):
        lines.append("\t".join([name, *row, "0-7", str(place[0])]))
    (folder / "drawn.txt").write_text("\n".join(lines) + "\n")
    given_links = Given({"gpu": "l40s"}, {"sockets": ("60 GB/s", "")}, "500 ns")
    (folder / "imported.yaml").write_text(import_topology("nvidia-topo", folder / "drawn.txt", "imported", given_links))
    matrix = matrix_of(load_topology(folder / "imported.yaml"), "host0")
    assert [list(row) for row in matrix.cells] == rows
