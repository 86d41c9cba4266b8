"""The matrix of ``nvidia-smi topo -m`` from a declared host."""

from __future__ import annotations

import json

import pytest

from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology
from controller.topology.matrix import UnknownHost, hosts_of, matrix_of
from controller.topology.show.json_document import topology_document

MADE = """\
\tGPU0\tGPU1\tGPU2\tGPU3\tGPU4\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID
GPU0\tX\tPIX\tPXB\tNODE\tSYS\tPIX\tSYS\t0-23\t0\tN/A
GPU1\tPIX\tX\tPXB\tNODE\tSYS\tPIX\tSYS\t0-23\t0\tN/A
GPU2\tPXB\tPXB\tX\tNODE\tSYS\tPXB\tSYS\t0-23\t0\tN/A
GPU3\tNODE\tNODE\tNODE\tX\tSYS\tNODE\tSYS\t0-23\t0\tN/A
GPU4\tSYS\tSYS\tSYS\tSYS\tX\tSYS\tPHB\t24-47\t1\tN/A
NIC0\tPIX\tPIX\tPXB\tNODE\tSYS\tX\tSYS
NIC1\tSYS\tSYS\tSYS\tSYS\tPHB\tSYS\tX
"""


def imported(tmp_path, text: str, product: str = "l40s"):
    (tmp_path / "m.txt").write_text(text)
    given = Given({"gpu": product}, {"sockets": ("60 GB/s", "150 ns")}, "400 ns")
    (tmp_path / "m.yaml").write_text(import_topology("nvidia-topo", tmp_path / "m.txt", "m", given))
    return load_topology(tmp_path / "m.yaml")


def cells_of(text: str) -> list[list[str]]:
    rows = [line.split() for line in text.splitlines()[1:]]
    return [row[1 : len(rows) + 1] for row in rows]


def test_the_matrix_that_was_imported_comes_back(tmp_path):
    matrix = matrix_of(imported(tmp_path, MADE), "host0")
    assert matrix.names == ("gpu0", "gpu1", "gpu2", "gpu3", "gpu4", "nic0", "nic1")
    assert [list(row) for row in matrix.cells] == cells_of(MADE)
    assert matrix.numa_affinity == ("0", "0", "0", "0", "1", "0", "1")


@pytest.mark.parametrize(("count", "product"), [(18, "h100_sxm"), (12, "a100_sxm_80"), (18, "b200_sxm")])
def test_nvlinks_come_back_too(tmp_path, count, product):
    names = [f"GPU{i}" for i in range(4)]
    rows = ["\t" + "\t".join(names) + "\tCPU Affinity\tNUMA Affinity"]
    for a in names:
        rows.append(a + "\t" + "\t".join("X" if a == b else f"NV{count}" for b in names) + "\t0-47\t0")
    text = "\n".join(rows) + "\n"
    assert [list(row) for row in matrix_of(imported(tmp_path, text, product), "host0").cells] == cells_of(text)


def test_shipped_hosts_have_the_labels_of_their_kind():
    dgx = matrix_of(load_topology("dgx_h100"), "host0")
    assert set(dgx.cells[0]) == {"X", "NV18"} and dgx.cpu_affinity[0] == "cpu" and dgx.numa_affinity[0] == "0"
    l40s = matrix_of(load_topology("l40s_8"), "host0")
    assert l40s.cells[0] == ("X", "PIX", "PIX", "PIX", "SYS", "SYS", "SYS", "SYS")
    assert l40s.numa_affinity == ("0",) * 4 + ("1",) * 4 and l40s.cpu_affinity[0] == "N/A"
    two = load_topology("a6000_2csd", ["gpu.count=2"])
    csd = matrix_of(two, hosts_of(two)[0])
    assert csd.cells[0] == ("X", "PHB")


def test_other_links_between_accelerators_have_the_name_of_their_port():
    frontier = matrix_of(load_topology("frontier"), "host1")
    assert frontier.names[:2] == ("gpu8", "gpu9") and frontier.names[-1] == "nic3_h1"
    assert set(frontier.cells[0]) == {"X", "XGMI"}
    assert matrix_of(load_topology("gb200_nvl72"), "host3").cells[0] == ("X", "NV18", "NV18", "NV18")


def test_every_matrix_is_symmetric():
    for name in ("frontier", "cloudmatrix384", "h100_mesh", "two_dgx_h100", "rtx4090_8"):
        topology = load_topology(name)
        cells = matrix_of(topology, hosts_of(topology)[0]).cells
        assert [list(row) for row in cells] == [list(column) for column in zip(*cells, strict=True)]
        assert all(cells[i][i] == "X" for i in range(len(cells)))


def test_accelerators_that_only_a_network_joins(load):
    text = """\
name: toy
hosts:
  a:
    devices:
      gpu: {product: toy_gpu, count: 2}
switches: [leaf]
links: [{ends: [gpu.pcie, leaf], bandwidth: 10 GB/s, latency: 1 us}]
"""
    assert matrix_of(load(text), "a").cells == (("X", "NET"), ("NET", "X"))
    apart = text.replace("[leaf]", "[left, right]").replace(
        "[{ends: [gpu.pcie, leaf],",
        "[{ends: [gpu0.pcie, left], bandwidth: 10 GB/s, latency: 1 us}, {ends: [gpu1.pcie, right],",
    )
    assert matrix_of(load(apart), "a").cells == (("X", "N/A"), ("N/A", "X"))


def test_show_has_the_matrix_of_the_host_that_is_asked_for(load, toy_text):
    toy = load(toy_text.replace("{product: toy_gpu}", "{product: toy_gpu, count: 2}"))
    document = json.loads(json.dumps(topology_document(toy)))
    assert document["matrices"] == [
        {
            "host": "host0",
            "names": ["gpu0", "gpu1"],
            "cells": [["X", "PHB"], ["PHB", "X"]],
            "cpu_affinity": ["cpu", "cpu"],
            "numa_affinity": ["0", "0"],
        }
    ]
    many = load_topology("h100_leaf_spine")
    assert [each["host"] for each in topology_document(many)["matrices"]] == ["host0", "host1"]
    assert [each["names"][0] for each in topology_document(many, "host31")["matrices"]] == ["gpu248"]
    two = topology_document(load_topology("two_hosts"), "host_b")
    assert {each["host"] for each in two["devices"]} == {"host_b"} and len(two["routes"]) == 1
    assert two["links"] and all("_b" in "".join(each["ends"]) for each in two["links"])
    with pytest.raises(UnknownHost, match=r"no host 'host32'; did you mean 'host3'"):
        topology_document(many, "host32")
