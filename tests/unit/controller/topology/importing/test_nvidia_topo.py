"""``nvidia-smi topo -m`` becomes a topology, and its own matrix comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadTopology
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import UnknownFormat, import_topology
from controller.topology.loader import load_topology

BOX = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tPIX\tNODE\tSYS\tPXB\tSYS\t0-23,48-71\t0\t\tN/A
GPU1\tPIX\t X \tNODE\tSYS\tPXB\tSYS\t0-23,48-71\t0\t\tN/A
GPU2\tNODE\tNODE\t X \tSYS\tNODE\tSYS\t0-23,48-71\t0\t\tN/A
GPU3\tSYS\tSYS\tSYS\t X \tSYS\tPHB\t24-47\t1\t\tN/A
NIC0\tPXB\tPXB\tNODE\tSYS\t X \tSYS\t\t\t\t
NIC1\tSYS\tSYS\tSYS\tPHB\tSYS\t X \t\t\t\t

Legend:

  X    = Self
NIC Legend:

  NIC0: mlx5_0
  NIC1: mlx5_1
"""

NVLINKED = """\
        GPU0    GPU1    GPU2    CPU Affinity    NUMA Affinity
GPU0     X      NV18    NV18    0-47    0
GPU1    NV18     X      NV18    0-47    0
GPU2    NV18    NV18     X      48-95   1
"""

GIVEN = Given({"gpu": "l40s"}, {"sockets": ("60 GB/s", "150 ns")}, "400 ns")


def imported(tmp_path, text: str, given: Given = GIVEN):
    (tmp_path / "box.txt").write_text(text)
    (tmp_path / "box.yaml").write_text(import_topology("nvidia-topo", tmp_path / "box.txt", "box", given))
    return load_topology(tmp_path / "box.yaml")


def complaint(tmp_path, text: str, given: Given = GIVEN) -> str:
    with pytest.raises(BadTopology) as caught:
        imported(tmp_path, text, given)
    return str(caught.value)


def passed(topology, a: str, b: str) -> list[str]:
    return [hop.head.vertex for hop in route(topology, a, b).hops[:-1]]


def test_the_tree_has_the_switches_that_the_labels_say(tmp_path):
    box = imported(tmp_path, BOX)
    assert [device.spec.product for device in box.devices.values()] == ["l40s"] * 4
    assert passed(box, "gpu0", "gpu1") == ["pcie_switch0"]
    assert passed(box, "gpu0", "gpu2") == ["pcie_switch0", "pcie_bridge0", "numa0"]
    assert passed(box, "gpu1", "gpu3")[-3:] == ["numa0", "numa1", "root0"]
    assert {link.name for link in box.links if "nic" in link.name} == {"nic0-pcie_switch1", "nic1-root0"}


def test_rates_are_those_of_the_sheet_and_of_the_user(tmp_path):
    links = {link.name: link for link in imported(tmp_path, BOX).links}
    assert links["gpu0.pcie-pcie_switch0"].constants["forward"].kind == "assumed"
    assert "pcie port of l40s" in links["gpu0.pcie-pcie_switch0"].constants["forward"].source
    sockets = links["numa0-numa1"]
    assert (sockets.forward_bytes_per_s, sockets.latency_s) == (60e9, 150e-9)


def test_nvlinks_that_every_pair_has_in_full_are_a_switch(tmp_path):
    box = imported(tmp_path, NVLINKED, Given({"": "h100_sxm"}, {"sockets": ("60 GB/s", "")}, "300 ns"))
    assert passed(box, "gpu0", "gpu2") == ["nvswitch"]
    assert {link.forward_bytes_per_s for link in box.links if "nvswitch" in link.name} == {450e9}


def test_nvlinks_that_add_up_to_the_port_are_cables(tmp_path):
    text = NVLINKED.replace("NV18", "NV3").replace("1    NV3     X", "1    NV3     X")
    box = imported(tmp_path, text, Given({"": "v100_sxm"}, {"sockets": ("60 GB/s", "")}, "300 ns"))
    assert passed(box, "gpu0", "gpu1") == []
    assert [link.forward_bytes_per_s for link in box.links if link.name.count("nvlink") == 2] == [75e9] * 3


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("GPU3\tSYS", "GPU3\tSYSTEM", 5, "GPU3 to GPU0 is 'SYSTEM', which is no label"),
        ("NIC1\tSYS\tSYS\tSYS\tPHB", "NIC1\tSYS\tSYS\tSYS\tPIX", 5, "is not"),
        ("NIC0\tPXB", "NICO\tPXB", 1, "the matrix has no row NIC0"),
        ("GPU1\tPIX\t X ", "GPU1\tPIX\tPIX", 3, "GPU1 to GPU1 is 'PIX'"),
        ("\tSYS\tSYS\tSYS\tPHB\tSYS\t X \t\t\t\t", "\tSYS\tSYS", 7, "the row NIC1 has 2 of 6 columns"),
        ("GPU1\tPIX", "GPU0\tPIX", 3, "a second row GPU0"),
    ],
)
def test_a_matrix_that_contradicts_itself_is_found_with_its_line(tmp_path, before, after, line, said):
    text = complaint(tmp_path, BOX.replace(before, after))
    assert f"box.txt:{line}:" in text and said in text, text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Given(), "give --product gpu=NAME"),
        (Given({"gpu": "l40"}), "did you mean 'l40s'"),
        (Given({"gpu": "l40s"}), "give --latency '500 ns' for all such links"),
        (Given({"gpu": "l40s"}, {}, "400 ns"), "nothing says how fast the link 'sockets' is"),
        (Given({"gpu": "l40s"}, {"sockets": ("60", "")}, "400 ns"), "--link sockets"),
        (Given({"gpu": "xeon_8480"}, {}, "five"), "--latency"),
    ],
)
def test_what_nobody_says_must_be_given(tmp_path, given, said):
    assert said in complaint(tmp_path, BOX, given)


def test_what_is_no_matrix_is_refused(tmp_path):
    assert "no header with GPU0" in complaint(tmp_path, "No devices were found\n")
    with pytest.raises(BadTopology, match="cannot be read"):
        import_topology("nvidia-topo", tmp_path / "nothing")
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    with pytest.raises(BadTopology, match="byte 0 is not UTF-8"):
        import_topology("nvidia-topo", tmp_path / "raw")


def test_an_unknown_format_is_named_with_the_nearest(tmp_path):
    with pytest.raises(UnknownFormat, match="did you mean 'nccl'"):
        import_topology("nccll", tmp_path / "x")


def test_labels_outrank_the_column_of_nodes(tmp_path):
    text = (Path(__file__).parents[4] / "fixtures" / "platforms" / "topo_sys_in_one_numa.txt").read_text()
    given = Given({"gpu": "h100_sxm"}, {"sockets": ("1 GB/s", "")}, "500 ns")
    box = imported(tmp_path, text, given)
    for a, b in (("gpu0", "gpu1"), ("gpu1", "gpu2")):
        assert min(hop.link.forward_bytes_per_s for hop in route(box, a, b).hops) == 1e9
    # NVLinks hide the label of the GPUs; those of their NICs say that nothing is shared.
    linked = text.replace("GPU0\t X \tSYS", "GPU0\t X \tNV18").replace("GPU1\tSYS\t X", "GPU1\tNV18\t X")
    again = imported(tmp_path, linked, given)
    assert sum("numa" in switch for switch in again.switches) == 4


def test_a_matrix_that_no_tree_has_is_refused(tmp_path):
    text = BOX.replace("GPU0\t X \tPIX", "GPU0\t X \tSYS").replace("GPU1\tPIX\t X", "GPU1\tSYS\t X")
    found = complaint(tmp_path, text)
    assert "box.txt:2: GPU0 to GPU1 is SYS, and others join the two by PXB" in found


def test_older_labels_and_what_a_terminal_leaves_behind(tmp_path):
    text = "\t[4mGPU0\tGPU1\tCPU Affinity[0m\nGPU0\t X \tSOC\t0-9\nGPU1\tSOC\t X \t10-19\n"
    (tmp_path / "m.txt").write_text(text)
    given = Given({"gpu": "v100_sxm"}, {"sockets": ("20 GB/s", "")}, "500 ns")
    made = import_topology("nvidia-topo", tmp_path / "m.txt", "m", given)
    assert 'value: "20 GB/s"' in made and made.count("numa") >= 2


def test_older_drivers_say_the_node_by_its_cores(tmp_path):
    """Without the column of nodes two GPUs that NVLink joins are on one where their cores are the same."""
    rows = ["\tGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity", "GPU0\t X \tNV1\tNV1\tNV2\t0-19,40-59",
            "GPU1\tNV1\t X \tNV2\tNV1\t0-19,40-59", "GPU2\tNV1\tNV2\t X \tNV2\t20-39,60-79",
            "GPU3\tNV2\tNV1\tNV2\t X \t20-39,60-79"]  # fmt: skip
    (tmp_path / "t.txt").write_text("\n".join(rows) + "\n")
    given = Given({"": "a100_sxm_40"}, {"sockets": ("20 GB/s", "")}, "500 ns")
    text = import_topology("nvidia-topo", tmp_path / "t.txt", "t", given)
    assert "switches: [numa0, numa1]" in text


def test_a_gpu_with_c2c_has_no_slot_and_says_nothing_of_those_of_nics(tmp_path):
    text = "\tGPU0\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \tSYS\t0-71\t0\t\t1\nNIC0\tSYS\t X \n"
    given = Given({"gpu": "gh200"}, GIVEN.links, GIVEN.latency)
    assert "nothing says how fast the link 'slot' is" in complaint(tmp_path, text, given)
    box = imported(tmp_path, text, Given({"gpu": "gh200"}, {**GIVEN.links, "slot": ("63 GB/s", "")}, GIVEN.latency))
    rates = {link.a.vertex: link.forward_bytes_per_s for link in box.links}
    assert rates["gpu0"] == 450e9 and rates["nic0"] == 63e9


def test_the_matrix_of_peer_access_is_named(tmp_path):
    text = "\tGPU0\tGPU1\nGPU0\tX\tOK\nGPU1\tOK\tX\n"
    assert "but of topo -p2p; give the output of nvidia-smi topo -m" in complaint(tmp_path, text)
