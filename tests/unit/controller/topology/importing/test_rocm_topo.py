"""``rocm-smi --showtopo`` becomes a topology."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology


def matrix(title: str, cell: str, count: int) -> str:
    names = [f"GPU{index}" for index in range(count)]
    rows = [f"{a}   " + "  ".join("0" if a == b else cell for b in names) for a in names]
    return "\n".join([f"===== {title} =====", "       " + "  ".join(names), *rows, ""])


def output(count: int, kind: str = "XGMI", hops: str = "1") -> str:
    nodes = "\n".join(f"GPU[{index}]\t\t: (Topology) Numa Node: {index * 2 // count}" for index in range(count))
    parts = [
        matrix("Weight between two GPUs", "15", count),
        matrix("Hops between two GPUs", hops, count),
        matrix("Link Type between two GPUs", kind, count),
        f"===== Numa Nodes =====\n{nodes}",
    ]
    return "\n".join(parts)


def imported(tmp_path, text: str, **links: tuple[str, str]):
    (tmp_path / "smi.txt").write_text(text)
    given = Given({"gpu": "mi300x"}, {"sockets": ("60 GB/s", ""), **links}, "500 ns")
    (tmp_path / "smi.yaml").write_text(import_topology("rocm-topo", tmp_path / "smi.txt", "smi", given))
    return load_topology(tmp_path / "smi.yaml")


def test_a_full_mesh_shares_the_port_among_its_neighbours(tmp_path):
    box = imported(tmp_path, output(8))
    cables = [link for link in box.links if link.a.port == "xgmi"]
    assert len(cables) == 28 and {link.forward_bytes_per_s for link in cables} == {64e9}
    assert len(route(box, "gpu0", "gpu7").hops) == 1 and box.switches == ("numa0", "numa1")


def test_gpus_without_xgmi_take_their_slots(tmp_path):
    box = imported(tmp_path, output(2, "PCIE", "2"))
    assert [hop.head.vertex for hop in route(box, "gpu0", "gpu1").hops] == ["numa0", "numa1", "gpu1"]


def test_what_the_output_does_not_say_must_be_given(tmp_path):
    with pytest.raises(BadTopology, match=r"smi\.txt:13: nothing says how fast the link 'xgmi' is"):
        imported(tmp_path, output(2))
    box = imported(tmp_path, output(2), xgmi=("128 GB/s", ""))
    assert route(box, "gpu0", "gpu1").hops[0].link.forward_bytes_per_s == 128e9
    with pytest.raises(BadTopology, match="rocm-smi --showtopo"):
        imported(tmp_path, "nothing")


def test_weights_say_which_pairs_have_a_cable(tmp_path):
    # A module of two dies prints one hop for every pair, and weight 30 where the way leads through another die.
    text = output(2).replace("GPU0   0  15", "GPU0   0  30").replace("GPU1   15  0", "GPU1   30  0")
    box = imported(tmp_path, text)
    assert len(route(box, "gpu0", "gpu1").hops) == 3
    assert "XGMI over more than one hop" in (tmp_path / "smi.yaml").read_text()


def test_the_tables_of_amd_smi_name_gpus_by_their_slots(tmp_path):
    names = ["0000:0c:00.0", "0000:22:00.0"]
    rows = "\n".join(f"{a}   " + "   ".join("SELF" if a == b else "XGMI" for b in names) for a in names)
    text = f"LINK TYPE TABLE:\n               {'   '.join(names)}\n{rows}\n\n"
    box = imported(tmp_path, text, xgmi=("64 GB/s", ""))
    assert len(route(box, "gpu0", "gpu1").hops) == 1
    assert "Not taken over: NUMA nodes" in (tmp_path / "smi.yaml").read_text()


AMD = ("0000:05:00.0", "0000:26:00.0")


def amd_table(title: str, own: str, other: str) -> str:
    a, b = AMD
    return f"{title}:\n               {a}  {b}\n {a}  {own}  {other}\n {b}  {other}  {own}\n\n"


def test_amd_smi_says_rates_and_what_is_closed(tmp_path):
    kinds, rates = amd_table("LINK TYPE TABLE", "SELF", "XGMI"), amd_table("NUMA BW TABLE", "N/A", "40000-50000")
    box = imported(tmp_path, amd_table("ACCESS TABLE", "ENABLED", "ENABLED") + kinds + rates)
    assert [link.forward_bytes_per_s for link in box.links if link.a.port == "xgmi"] == [50e9]
    assert "hops and weights, which the output does not say" in (tmp_path / "smi.yaml").read_text()
    box = imported(tmp_path, amd_table("ACCESS TABLE", "ENABLED", "DISABLED") + kinds + rates)
    assert not [link for link in box.links if link.a.port == "xgmi"]
    assert "pairs whose access is DISABLED: they take PCIe" in (tmp_path / "smi.yaml").read_text()


def test_json_of_the_tools_is_refused(tmp_path):
    with pytest.raises(BadTopology, match=r"smi\.txt:1: this is JSON; give the tables .* without --json"):
        imported(tmp_path, '[{"gpu": 0, "links": []}]')


def test_a_die_hangs_on_its_port_to_the_host(tmp_path):
    (tmp_path / "smi.txt").write_text(output(2, "PCIE", "2"))
    given = Given({"gpu": "mi250x_gcd"}, {"sockets": ("60 GB/s", "")}, "500 ns")
    assert "ends: [gpu0.host, numa0]" in import_topology("rocm-topo", tmp_path / "smi.txt", "smi", given)
