"""--routing, --fail and --degrade on commands, and what is answered to fabrics that cannot carry a collective."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.cli.main import main

LEAVES = """\
name: leaves
hosts:
{hosts}
switches: [leaf0, leaf1, spine0, spine1]
links:
  - {{ends: [a.pcie, leaf0], bandwidth: 100 GB/s, latency: 0 s}}
  - {{ends: [b.pcie, leaf1], bandwidth: 100 GB/s, latency: 0 s}}
{uplinks}
"""
HOST = "  h{name}: {{devices: {{{name}: {{product: h100_sxm, count: 2}}}}}}"


@pytest.fixture
def leaves(tmp_path: Path) -> str:
    """Two hosts of two GPUs, a leaf each, two spines; uplinks of 10 GB/s called up<leaf>-<spine>."""
    uplinks = [
        f"  - {{ends: [leaf{leaf}, spine{spine}], name: up{leaf}-{spine}, bandwidth: 10 GB/s, latency: 0 s}}"
        for leaf in range(2)
        for spine in range(2)
    ]
    path = tmp_path / "leaves.yaml"
    hosts = "\n".join(HOST.format(name=name) for name in "ab")
    path.write_text(LEAVES.format(hosts=hosts, uplinks="\n".join(uplinks)))
    return str(path)


def table(capsys, *words: str) -> dict:
    assert main(["collective", *words, "--pieces", "1", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    return row


SIZE = ("-b", "64M", "-e", "64M")


def test_spraying_is_twice_as_fast_as_one_path(leaves, capsys):
    words = ("all_to_all", "--topology", leaves, *SIZE, "--algorithm", "direct")
    one, both = (table(capsys, *words, "--routing", name)["out_of_place"]["time"] for name in ("single", "spray"))
    assert both == pytest.approx(one / 2, rel=1e-3)


def test_the_option_of_a_topology_can_be_set_too(leaves, capsys):
    words = ("all_to_all", "--topology", leaves, *SIZE, "--algorithm", "direct")
    by_option = table(capsys, *words, "--set", "options.routing=spray")
    assert by_option["out_of_place"] == table(capsys, *words, "--routing", "spray")["out_of_place"]


def test_a_file_of_faults_says_what_the_options_say(leaves, tmp_path, capsys):
    words = ("all_to_all", "--topology", leaves, *SIZE, "--algorithm", "direct", "--routing", "spray")
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n  - {link: up0-0, at: 1 ms}\n  - {link: up1-1, at: 0 s, capacity: 0.5}\n")
    by_file = table(capsys, *words, "--faults", str(file))
    by_options = table(capsys, *words, "--fail", "up0-0@1 ms", "--degrade", "up1-1=0.5@0 s")
    assert by_file["out_of_place"] == by_options["out_of_place"] != table(capsys, *words)["out_of_place"]
    file.write_text("faults:\n  - {link: up0-9, at: 1 ms}\n")
    assert main(["collective", *words, "--faults", str(file)]) == 2
    assert "faults.yaml:2: fault 'up0-9@1 ms': no link 'up0-9'; did you mean" in capsys.readouterr().err


def test_a_failed_link_is_in_the_table_and_in_the_json(leaves, capsys):
    words = ("all_to_all", "--topology", leaves, *SIZE, "--algorithm", "direct", "--routing", "spray")
    before = table(capsys, *words)
    after = table(capsys, *words, "--fail", "up0-1@0 s")
    assert after["out_of_place"]["time"] == pytest.approx(2 * before["out_of_place"]["time"], rel=1e-3)
    assert [change["link"] for change in after["link_changes"]] == ["up0-1"]
    assert main(["collective", *words, "--pieces", "1", "--fail", "up0-1@1 ms:2 ms", "--degrade", "up0-0=0.5@1 s"]) == 0
    text = capsys.readouterr().out
    for word in ("up0-1 fails at 1 ms: 8 transfers moved", "up0-1 works again at 2 ms", "keeps 0.5", "after the end"):
        assert word in text


@pytest.mark.parametrize("algorithm", ["ring", "auto"])
def test_a_call_without_another_path_ends_with_the_name_of_the_link(algorithm, capsys):
    words = ["all_reduce", "--ranks", "2", "-b", "1M", "-e", "1M", "--algorithm", algorithm]
    assert main(["collective", *words, "--fail", "gpu1.nvlink-nvswitch@1 us"]) == 1
    said = capsys.readouterr().err
    assert "link gpu1.nvlink-nvswitch failed at 1e-06 s" in said and "Traceback" not in said


def test_a_run_without_another_path_ends_so_too(capsys):
    words = ["run", "instinfer", "--topology", "a6000_csd", "--model", "tiny-opt", "--output-tokens", "2"]
    assert main([*words, "--fail", "csd0.pcie-root@1 us"]) == 1
    assert "link csd0.pcie-root failed" in capsys.readouterr().err


def test_a_fault_outside_of_the_group_is_said_to_change_nothing(capsys):
    words = ["all_reduce", "--ranks", "2", "-b", "8", "-e", "8", "--algorithm", "ring"]
    assert main(["collective", *words, "--fail", "gpu7.nvlink-nvswitch@0 s"]) == 0
    assert "outside of the group, and changes nothing" in capsys.readouterr().out


ISLANDS = """\
name: islands
hosts:
  h0:
    switches: [s0]
    devices: {x: {product: h100_sxm, count: 2}}
    links: [{ends: [x.nvlink, s0], bandwidth: 100 GB/s, latency: 1 us}]
  h1:
    switches: [s1]
    devices: {y: {product: h100_sxm}}
    links: [{ends: [y.nvlink, s1], bandwidth: 100 GB/s, latency: 1 us}]
"""


@pytest.mark.parametrize(
    "words", [["all_reduce"], ["all_to_all", "--routing", "spray"], ["broadcast", "--routing", "ecmp"]]
)
def test_a_disconnected_fabric_is_refused_by_its_names(words, tmp_path, capsys):
    path = tmp_path / "islands.yaml"
    path.write_text(ISLANDS)
    assert main(["collective", *words, "--topology", str(path), "-e", "8"]) == 2
    said = capsys.readouterr().err
    assert "no route from" in said and "islands" in said and "Traceback" not in said
    assert main(["collective", *words, "--topology", str(path), "-e", "8", "--ranks", "2"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["all_reduce", "--routing", "emcp"], "did you mean 'ecmp'?"),
        (["all_reduce", "--fail", "gpu9.nvlink-nvswitch@1 ms"], "no link 'gpu9.nvlink-nvswitch'"),
        (["all_reduce", "--fail", "gpu0.nvlink-nvswitch"], "write LINK@TIME"),
        (["all_reduce", "--fail", "gpu0.nvlink-nvswitch=0.5@1 ms"], "without a share"),
        (["all_reduce", "--degrade", "gpu0.nvlink-nvswitch@1 ms"], "LINK=SHARE@TIME"),
        (["all_reduce", "--degrade", "gpu0.nvlink-nvswitch=1@1 ms"], "between 0 and 1"),
        (["all_reduce", "--set", "options.routing=ecmp", "--set", "options.routing.seed=-1"], "whole number"),
        (["all_to_all", "--algorithm", "nothing.xml"], "cannot read the algorithm"),
    ],
)
def test_the_command_line_says_what_is_wrong(words, said, capsys):
    assert main(["collective", *words, "-e", "8"]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and "Traceback" not in complaint


@pytest.mark.parametrize("name", ["all_reduce", "reduce_scatter", "all_gather", "broadcast", "all_to_all", "barrier"])
def test_one_rank_has_nothing_to_send(name, capsys):
    assert main(["collective", name, "--ranks", "1", "-b", "8", "-e", "8", "--protocol", "plain", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["out_of_place"]["time"] < 10, "no more than a copy"
    assert row["out_of_place"]["bus_bw"] == 0 or name == "broadcast"


@pytest.mark.parametrize(("dtype", "size", "ranks"), [("int8", "7", "5"), ("fp32", "12", "8"), ("bf16", "2", "3")])
def test_odd_sizes_have_a_result(dtype, size, ranks, capsys):
    for name in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"):
        words = ["collective", name, "-d", dtype, "-b", size, "-e", size, "--ranks", ranks, "--protocol", "plain"]
        assert main([*words, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)["results"]
        assert row["out_of_place"]["time"] > 0


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("all_reduce", "three_level"), ("all_reduce", "hierarchical"), ("all_to_all", "hierarchical")],
)
def test_an_algorithm_that_cannot_run_on_the_group(name, algorithm, capsys):
    words = ["collective", name, "--topology", "two_dgx_h100", "--devices", "gpu_a0,gpu_a1,gpu_b0", "-e", "8"]
    assert main([*words, "--algorithm", algorithm]) == 2
    assert "hosts here have 1, 2" in capsys.readouterr().err
    assert main([*words, "--algorithm", f"{algorithm},{'ring' if name == 'all_reduce' else 'direct'}"]) == 0
