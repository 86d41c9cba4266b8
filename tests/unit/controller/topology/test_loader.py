"""A file becomes devices, switches and links, and every mistake in one is found with file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.errors import BadTopology
from controller.topology.loader import load_topology


def complaint(load, text: str, *overrides: str) -> str:
    with pytest.raises(BadTopology) as caught:
        load(text, *overrides)
    return str(caught.value)


def test_a_declared_count_gives_indexed_devices_with_their_links(load):
    toy = load()
    assert list(toy.devices) == ["cpu", "gpu", "csd0", "csd1"]
    assert [(each.group, each.index, each.host) for each in toy.group("csd")] == [
        ("csd", 0, "host0"),
        ("csd", 1, "host0"),
    ]
    assert toy.switches == ("root",)
    assert [link.name for link in toy.links] == ["cpu.pcie-root", "gpu.pcie-root", "csd0.pcie-root", "csd1.pcie-root"]
    assert toy.options == {"seed": "7"}
    assert toy.overrides == ()


def test_a_count_of_one_is_indexed_too(load, toy_text):
    assert "csd0" in load(toy_text.replace("count: 2", "count: 1")).devices


def test_links_hold_both_directions_and_their_latency(load):
    link = load().links[2]
    assert (str(link.a), str(link.b)) == ("csd0.pcie", "root")
    assert (link.forward_bytes_per_s, link.backward_bytes_per_s, link.latency_s) == (7e9, 6.5e9, 1e-6)
    same = load().links[1]
    assert same.forward_bytes_per_s == same.backward_bytes_per_s == 32e9


def test_a_link_value_may_carry_its_source(load, toy_text):
    stated = "bandwidth: {value: 32 GB/s, kind: datasheet, source: PCIe 4.0 x16}"
    link = load(toy_text.replace("bandwidth: 32 GB/s", stated)).links[1]
    assert link.constants["forward"].kind == "datasheet"
    assert link.constants["forward"].source == "PCIe 4.0 x16"
    bare = link.constants["latency"]
    assert bare.kind == "assumed" and bare.source.endswith("toy.yaml:11")


def test_set_in_the_file_is_applied_before_command_line_overrides(load, toy_text):
    text = toy_text.replace(
        "{product: toy_host}", "{product: toy_host, set: {dram.capacity: 96 GB, dram.read: 90 GB/s}}"
    )
    assert load(text).devices["cpu"].spec.tiers["dram"].capacity_bytes == 96 * 10**9
    changed = load(text, "cpu.dram.capacity=32 GB").devices["cpu"].spec.tiers["dram"]
    assert (changed.capacity_bytes, changed.read_bytes_per_s) == (32 * 10**9, 90e9)


def test_two_groups_are_joined_one_to_one(load, toy_text):
    text = toy_text.replace("gpu: {product: toy_gpu}", "gpu: {product: toy_gpu, count: 2}").replace(
        "ends: [csd.pcie, root]", "ends: [csd.pcie, gpu.nvlink]"
    )
    pairs = [(str(link.a), str(link.b)) for link in load(text).links[3:]]
    assert pairs == [("csd0.pcie", "gpu0.nvlink"), ("csd1.pcie", "gpu1.nvlink")]
    assert ":12: csd.pcie is 3 devices and gpu.nvlink is 2" in complaint(load, text, "csd.count=3")


def test_a_named_link_of_a_counted_group_is_numbered(load, toy_text):
    text = toy_text.replace("{ends: [csd.pcie, root]", "{name: slot, ends: [csd.pcie, root]")
    assert [link.name for link in load(text).links[2:]] == ["slot0", "slot1"]


# (what is replaced, by what, line, words of the complaint)
MISTAKES = [
    ("count: 2", "cuont: 2", 8, ["unknown key 'cuont' in hosts.host0.devices.csd", "did you mean 'count'?"]),
    ("switches: [root]", "switchs: [root]", 4, ["unknown key 'switchs'", "did you mean 'switches'?"]),
    ("options:", "option:", 13, ["unknown key 'option' in the file", "did you mean 'options'?"]),
    ("bandwidth: 32 GB/s", "bandwith: 32 GB/s", 11, ["unknown key 'bandwith'", "did you mean 'bandwidth'?"]),
    ("toy_gpu", "toy_gup", 7, ["device gpu", "'toy_gup'", "did you mean 'toy_gpu'?"]),
    ("toy_gpu", "../toy_gpu", 7, ["'../toy_gpu' is not a product name"]),
    ("gpu: {product: toy_gpu}", "../gpu: {product: toy_gpu}", 7, ["'../gpu' cannot name a device"]),
    ("gpu: {product: toy_gpu}", "link: {product: toy_gpu}", 7, ["'link' cannot name a device", "taken by overrides"]),
    ("host0:", "ho/st:", 3, ["'ho/st' cannot name a host"]),
    ("name: toy", "name: ../toy", 1, ["'../toy' cannot name a topology"]),
    ("name: toy", "title: toy", 1, ["the file lacks the key 'name'", "unknown key 'title'"]),
    ("switches: [root]", "switches: [ro.ot]", 4, ["'ro.ot' cannot name a switch"]),
    ("switches: [root]", "switches: [root, gpu]", 7, ["the name 'gpu' is taken by the entry in line 4"]),
    ("gpu: {product: toy_gpu}", "csd1: {product: toy_gpu}", 8, ["the name 'csd1' is taken by the entry in line 7"]),
    ("gpu: {product: toy_gpu}", "csd: {product: toy_gpu}", 8, ["'csd' is declared twice"]),
    ("[gpu.pcie, root]", "[gpu.pcie, rot]", 11, ["ends at 'rot', which is no device", "did you mean 'root'?"]),
    ("[gpu.pcie, root]", "[gup.pcie, root]", 11, ["ends at 'gup'", "did you mean 'gpu'?"]),
    ("[csd.pcie, root]", "[csd7.pcie, root]", 12, ["ends at 'csd7'", "did you mean 'csd"]),
    ("[gpu.pcie, root]", "[gpu.pci, root]", 11, ["'gpu' has no port 'pci'", "did you mean 'gpu.pcie'?"]),
    ("[gpu.pcie, root]", "[gpu, root]", 11, ["'gpu' is a device, so the link needs its port", "gpu.nvlink"]),
    ("[gpu.pcie, root]", "[gpu.pcie, root.x]", 11, ["'root' is a switch and has no port 'x'"]),
    ("[gpu.pcie, root]", "[gpu.pcie, gpu.nvlink]", 11, ["joins 'gpu' with itself"]),
    ("[gpu.pcie, root]", "[gpu.pcie]", 11, ["ends: list should have at least 2 items"]),
    ("[gpu.pcie, root]", "[cpu.pcie, root]", 11, ["'cpu.pcie-root' is declared already in line 10"]),
    ("bandwidth: 32 GB/s", "bandwidth: 32", 11, ["'32' has no unit", "write for example '32 GB/s'"]),
    ("bandwidth: 32 GB/s", "bandwidth: {value: 32, kind: assumed, source: me}", 11, ["'32' has no unit"]),
    ("bandwidth: 32 GB/s", "bandwidth: {value: 32 GB/s, kind: assumed}", 11, ["kind and source stand together"]),
    ("bandwidth: 32 GB/s", "bandwidth: [32]", 11, ["write a number and a unit as text"]),
    ("bandwidth: 32 GB/s", "bandwidth: 32 GX/s", 11, ["unknown unit 'GX/s'"]),
    ("bandwidth: 32 GB/s", "bandwidth: 32 us", 11, ["is in s, but bytes/s is meant"]),
    ("bandwidth: 32 GB/s", "bandwidth: 0 GB/s", 11, ["more than 0 B/s"]),
    ("bandwidth: 32 GB/s", "bandwidth: -1 GB/s", 11, ["is negative"]),
    ("bandwidth: 32 GB/s", "forward: 32 GB/s", 11, ["both forward and backward"]),
    ("bandwidth: 32 GB/s", "bandwidth: 1 GB/s, forward: 1 GB/s", 11, ["not a mix"]),
    (", latency: 500 ns", "", 11, ["lacks the key 'latency'"]),
    ("count: 2", "count: 0", 8, ["count", "greater than or equal to 1", "here: 0"]),
    ("count: 2", "count: two", 8, ["count", "valid integer", "here: 'two'"]),
    ("count: 2", "count: 2.5", 8, ["count", "valid integer"]),
    ("count: 2", "count: true", 8, ["count", "valid integer"]),
    ("count: 2", "set: {flash.raed: 2 GB/s}", 8, ["device csd", "'flash.raed'", "did you mean 'flash.read'?"]),
    ("count: 2", "set: {flash.read: 2}", 8, ["device csd", "'2' has no unit"]),
    ("product: toy_gpu", "products: toy_gpu", 7, ["lacks the key 'product'", "did you mean 'product'?"]),
    ("name: toy", "name: [toy", 2, ["this is not YAML"]),
    ("name: toy", f"name: {20 * '['}{20 * ']'}", 1, ["nested deeper than 16 levels"]),
]


@pytest.mark.parametrize(("old", "new", "line", "words"), MISTAKES, ids=[f"{old}->{new}" for old, new, *_ in MISTAKES])
def test_a_mistake_is_found_with_file_and_line(load, toy_text, old, new, line, words):
    assert old in toy_text
    text = complaint(load, toy_text.replace(old, new, 1))
    assert re.match(rf"\S*toy\.yaml:{line}: ", text), text
    for each in words:
        assert each in text


def test_every_complaint_of_a_file_is_listed_in_its_order(load, toy_text):
    text = complaint(load, toy_text.replace("bandwidth: 32 GB/s", "bandwidth: 32").replace("switches:", "switch:"))
    assert [int(line.split(":")[1]) for line in text.splitlines()] == [4, 11]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1: a topology is a mapping"),
        (b"- a\n", ":1: a topology is a mapping"),
        (b"name: \xff\n", "byte 6 is not UTF-8"),
        (b"name: a\x00\n", ":1: this is not YAML"),
        (b"name: toy\nhosts: {}\n", ":2: the topology declares no device"),
        (b"name: toy\nhosts: []\n", ":2: hosts: input should be a valid dictionary"),
        (b"name: toy\nhosts: {1: {devices: {}}}\n", ":2: "),
    ],
)
def test_a_file_that_is_no_topology(tmp_path, content, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(BadTopology) as caught:
        load_topology(path)
    assert words in str(caught.value) and "bad.yaml" in str(caught.value)


TWO_HOSTS = """\
name: pair
switches: [tor]
hosts:
  left:
    switches: [root_l]
    devices: {gpu_l: {product: toy_gpu}}
    links: [{ends: [gpu_l.pcie, root_l], bandwidth: 32 GB/s, latency: 1 us}]
  right:
    switches: [root_r]
    devices: {gpu_r: {product: toy_gpu}}
    links: [{ends: [gpu_r.pcie, root_r], bandwidth: 32 GB/s, latency: 1 us}]
links:
  - {ends: [root_l, tor], bandwidth: 100 Gb/s, latency: 1 us}
  - {ends: [root_r, tor], bandwidth: 100 Gb/s, latency: 1 us}
"""


def test_links_between_hosts(load):
    pair = load(TWO_HOSTS)
    assert [each.host for each in pair.devices.values()] == ["left", "right"]
    assert set(pair.switches) == {"tor", "root_l", "root_r"}
    assert pair.links[-1].forward_bytes_per_s == 12.5e9


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("gpu_r: {product", "gpu_l: {product", 10, "'gpu_l' is declared already in line 6"),
        ("switches: [root_r]", "switches: [root_l]", 9, "the name 'root_l' is taken by the entry in line 5"),
        ("[gpu_r.pcie, root_r]", "[gpu_r.pcie, root_l]", 11, "'root_l' is on host 'left', not on 'right'"),
        ("[gpu_r.pcie, root_r]", "[gpu_r.pcie, tor]", 11, "'tor' is between the hosts, not on 'right'"),
    ],
)
def test_mistakes_between_hosts(load, old, new, line, words):
    assert f"toy.yaml:{line}: {words}" in complaint(load, TWO_HOSTS.replace(old, new, 1))


def test_topologies_are_found_by_name_or_path(catalog):
    with pytest.raises(BadTopology, match=r"unknown topology 'a6000_cds'; did you mean 'a6000_csd'\?"):
        load_topology("a6000_cds")
    with pytest.raises(BadTopology, match="there is no such file"):
        load_topology("../a6000_csd")
    with pytest.raises(BadTopology, match="there is no such file"):
        load_topology(Path("nowhere"))


def test_a_missing_catalog_folder_is_named(load, tmp_path, toy_text):
    path = tmp_path / "toy.yaml"
    path.write_text(toy_text)
    with pytest.raises(BadTopology, match=r"toy.yaml:6: device cpu: .*missing"):
        load_topology(path, (), [tmp_path / "missing"])


HOSTILE = {
    "merged into itself": "a: &a\n  <<: *a\n",
    "levels": "a: " + "{a: " * 1000 + "1" + "}" * 1000,
    "digits": "a: " + "9" * 5000,
    "bits": "a: 0x" + "f" * 6000,
    "entries": "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
}


@pytest.mark.parametrize("says", HOSTILE)
def test_hostile_yaml_is_refused_with_a_sentence(tmp_path, says: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HOSTILE[says])
    with pytest.raises(BadTopology, match=says):
        load_topology(path)


def test_a_nic_is_no_device_of_a_topology(load, toy_text):
    said = complaint(load, toy_text.replace("product: toy_gpu", "product: connectx7"))
    assert "connectx7 is a nic" in said
    assert "- {ends: [DEVICE.PORT, SWITCH], bandwidth: " in said
    assert "link" in said
    assert ".yaml:7: device gpu" in said


def test_a_device_without_a_link_is_refused_where_there_are_others(load, toy_text):
    lines = [line for line in toy_text.splitlines() if "csd.pcie" not in line]
    with pytest.raises(
        BadTopology, match=r"toy\.yaml:\d+: 'csd0' has no link to anything.*add a link to csd\.pcie"
    ) as told:
        load("\n".join(lines))
    assert "csd1" not in str(told.value)
    assert len(load("name: toy\nhosts: {a: {devices: {gpu: {product: toy_gpu}}}}\n").devices) == 1
