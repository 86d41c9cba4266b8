"""The ``fabric:`` block as a whole: the repeated host, ``--set``, and every mistake with file and line."""

from __future__ import annotations

import pytest

from controller.errors import BadOverride, BadTopology

TEXT = """\
name: toy
fabric:
  kind: leaf_spine
  leaves: 2
  hosts_per_leaf: 2
  spines: 2
  host:
    switches: [{name: box, reduction: true, types: [fp32], rate: 40 GB/s}]
    devices:
      cpu: {product: toy_host}
      gpu: {product: toy_gpu, count: 2}
    links:
      - {ends: [gpu.nvlink, box], bandwidth: 50 GB/s, latency: 100 ns}
      - {ends: [gpu1.pcie, cpu.pcie], bandwidth: 20 GB/s, latency: 100 ns, name: slot}
    uplinks: [gpu.pcie]
  link: {bandwidth: 10 GB/s, latency: 1 us}
"""


def complaint(load, text: str, *overrides: str) -> str:
    with pytest.raises(BadTopology) as caught:
        load(text, *overrides)
    return str(caught.value)


def wrong(load, *overrides: str) -> str:
    with pytest.raises(BadOverride) as caught:
        load(TEXT, *overrides)
    return str(caught.value)


def test_the_host_is_repeated_with_names_that_say_where(load):
    toy = load(TEXT)
    assert [device.name for device in toy.group("cpu")] == ["cpu0", "cpu1", "cpu2", "cpu3"]
    assert [device.host for device in toy.group("gpu")] == [f"host{i // 2}" for i in range(8)]
    assert toy.devices["gpu0"].spec is toy.devices["gpu7"].spec
    names = [link.name for link in toy.links]
    assert names[:2] == ["gpu0.nvlink-box_h0", "gpu1.nvlink-box_h0"]
    slot = next(link for link in toy.links if link.name == "slot_h2")
    assert (str(slot.a), str(slot.b)) == ("gpu5.pcie", "cpu2.pcie")
    assert list(toy.abilities) == [f"box_h{i}" for i in range(4)]


def test_one_group_and_one_declared_link_are_one_target_each(load):
    toy = load(TEXT, "gpu.hbm.read=700 GB/s", "link.gpu.pcie-leaf.bandwidth=7 GB/s", "gpu3.hbm.read=600 GB/s")
    rates = [device.spec.tiers["hbm"].read_bytes_per_s for device in toy.group("gpu")]
    assert rates == [700e9] * 3 + [600e9] + [700e9] * 4
    assert {link.forward_bytes_per_s for link in toy.links if "-leaf" in link.name} == {7e9}


@pytest.mark.parametrize(
    ("override", "count"),
    [
        ("fabric.spines=4", 2 * 4 + 4 * 5),
        ("fabric.leaves=3", 3 * 2 + 6 * 5),
        ("fabric.host.devices.gpu.count=3", 2 * 2 + 4 * 7),
    ],
)
def test_every_number_of_the_block_can_be_set(load, override, count):
    assert len(load(TEXT, override).links) == count


def test_quantities_and_kinds_can_be_set_too(load):
    assert load(TEXT, "fabric.link.bandwidth=3 GB/s").links[-1].forward_bytes_per_s == 3e9
    assert load(TEXT, "fabric.host.links.0.latency=5 us").links[0].latency_s == 5e-6


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("fabric.spines=none", "fabric.spines: input should be a valid integer"),
        ("fabric.spins=4", "unknown key 'spins' in fabric; did you mean 'spines'?"),
        ("fabric.link.bandwidth=10", "fabric.link.bandwidth"),
        ("fabric.hosd.devices=1", "the fabric has no 'hosd' there; did you mean 'host'?"),
        ("fabric.host.links.7.latency=1 us", "the fabric has no '7' there"),
        ("fabric.kind=leafspine", "unknown kind 'leafspine'; did you mean 'leaf_spine'?"),
        ("gpu.count=4", "write fabric.host.devices.gpu.count=..."),
        ("fabric.spines.more=1", "fabric.spines is 2 and has no 'more'"),
        ("fabric.oversubscription=0", "greater than 0"),
        ("fabric.leaves=100000", "less than or equal to 65536"),
    ],
)
def test_a_wrong_set_is_the_users_error(load, override, said):
    assert said in wrong(load, override)


def test_set_of_a_fabric_needs_one(load, toy_text):
    with pytest.raises(BadOverride, match="the file has no fabric: block"):
        load(toy_text, "fabric.spines=4")


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("kind: leaf_spine", "kind: leafspine", 3, "unknown kind 'leafspine'; did you mean 'leaf_spine'?"),
        ("  kind: leaf_spine\n", "", 2, "it lacks the key 'kind'"),
        ("  spines: 2\n", "", 2, "fabric lacks the key 'spines'"),
        ("spines: 2", "spnes: 2", 6, "unknown key 'spnes' in fabric; did you mean 'spines'?"),
        ("gpu1.pcie", "gpu2.pcie", 14, "ends at 'gpu2', which is no device and no switch of the host"),
        ("gpu1.pcie", "gpu1", 14, "'gpu1' is a device, so the link needs its port"),
        ("gpu.nvlink, box", "gpu.nvlink, box.p", 13, "'box' is a switch and has no port 'p'"),
        ("uplinks: [gpu.pcie]", "uplinks: [gpu.pci]", 15, "has no port 'pci'; did you mean 'gpu.pcie'?"),
        ("    uplinks: [gpu.pcie]\n", "", 7, "nothing leaves the host"),
        ("bandwidth: 50 GB/s", "bandwidth: 50", 13, "fabric.host.links.0.bandwidth"),
        ("link: {bandwidth: 10 GB/s, latency: 1 us}", "link: {bandwidth: 10 GB/s}", 16, "lacks the key 'latency'"),
        ("leaves: 2", "leaves: 65536", 2, "declare a smaller fabric"),
        ("product: toy_gpu", "product: toy_gpp", 11, "toy_gpp"),
        ("kind: leaf_spine", "kind: [leaf_spine]", 3, "unknown kind ['leaf_spine']"),
        ("  host:\n", "  hosts: 3\n  host:\n", 7, "unknown key 'hosts' in fabric; did you mean 'host'?"),
    ],
)
def test_a_mistake_is_found_with_file_and_line(load, before, after, line, said):
    text = complaint(load, TEXT.replace(before, after))
    assert f"toy.yaml:{line}:" in text, text
    assert said in text


def test_oversubscription_and_an_uplink_exclude_each_other(load):
    text = TEXT + "  uplink: {bandwidth: 40 GB/s, latency: 1 us}\n"
    assert load(text).links[-1].forward_bytes_per_s == 40e9
    assert "give oversubscription" in complaint(load, text + "  oversubscription: 2\n")


def test_written_hosts_and_links_stand_beside_generated_ones(load):
    text = TEXT + (
        "hosts: {storage: {devices: {drive: {product: toy_drive, count: 2}}}}\n"
        "links: [{ends: [drive.pcie, spine0], bandwidth: 5 GB/s, latency: 2 us}]\n"
    )
    toy = load(text)
    assert toy.devices["drive1"].host == "storage"
    assert any(link.name == "drive1.pcie-spine0" for link in toy.links)
    assert "the fabric has a host 'host1' already" in complaint(load, text.replace("storage", "host1"))
    assert "'gpu' is declared already" in complaint(load, text.replace("drive", "gpu"))


def test_members_of_a_generated_group_may_differ(load):
    text = TEXT.replace("count: 2}", "count: 2, members: {5: {set: {hbm.read: 100 GB/s}}}}")
    rates = [device.spec.tiers["hbm"].read_bytes_per_s for device in load(text).group("gpu")]
    assert [index for index, rate in enumerate(rates) if rate == 100e9] == [5]
    assert "gpu has no member 8; it has 8" in complaint(load, text.replace("{5:", "{8:"))


def test_sixteen_thousand_devices_share_what_they_have_in_common(load):
    toy = load(TEXT, "fabric.leaves=64", "fabric.hosts_per_leaf=128")
    gpus = toy.group("gpu")
    assert len(gpus) == 16_384
    assert len({id(device.spec) for device in gpus}) == 1
    assert len({id(link.constants) for link in toy.links}) == 4


def test_a_fabric_that_nobody_means_ends_before_the_memory_does(load):
    assert "more than 1048576 of these links" in complaint(load, TEXT, "fabric.leaves=8192", "fabric.spines=8192")
    flat = TEXT.replace("leaf_spine", "fat_tree").replace("  leaves: 2\n  hosts_per_leaf: 2\n  spines: 2\n", "")
    tree = flat.replace(
        "fat_tree\n",
        "fat_tree\n  pods: 512\n  edges_per_pod: 1\n  aggregations_per_pod: 4096\n  cores: 4096\n  hosts_per_edge: 1\n",
    )
    assert "toy.yaml:2: the fabric has more than 262144 switches" in complaint(load, tree)


@pytest.mark.parametrize(
    "block", ["3", "[]", "{}", "{kind: star}", "{kind: torus, dimensions: []}", "{kind: mesh, host: 1}"]
)
def test_a_block_that_is_none_is_an_error_with_its_line(load, block):
    assert "toy.yaml:2:" in complaint(load, f"name: toy\nfabric: {block}\n")


def test_names_of_generated_and_written_switches_may_not_collide(load):
    assert "the name 'spine0' is taken by the entry in line" in complaint(load, TEXT + "switches: [spine0]\n")
    text = TEXT.replace("name: box, reduction", "name: gpu, reduction").replace("gpu.nvlink, box", "gpu.nvlink, gpu")
    assert "toy.yaml:" in complaint(load, text)
