"""Every shipped topology loads, is joined, and says where its numbers come from."""

from __future__ import annotations

import pytest

from controller.fabric.loads import Fabric
from controller.topology.graph import route, routes_of
from controller.topology.loader import list_topologies, load_topology
from controller.topology.schema import Device, Topology
from controller.topology.shipped import topology_path
from node.hardware.units import GIGA

NAMES = list_topologies()


def some_devices(topology: Topology) -> list[Device]:
    """All devices, or of a large cluster the first and last of every host, of a dozen hosts spread over it."""
    if len(topology.devices) <= 40:
        return list(topology.devices.values())
    hosts: dict[str, list[Device]] = {}
    for device in topology.devices.values():
        hosts.setdefault(device.host, []).append(device)
    every = list(hosts.values())
    found = [device for members in every[:: max(1, len(every) // 12)] for device in (members[0], members[-1])]
    return list({device.name: device for device in found}.values())


def test_the_testbeds_of_the_first_paper_are_there():
    assert {"a6000_csd", "a6000_2csd", "a6000_ssd", "two_hosts"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_under_the_name_of_its_file_and_is_joined(name):
    topology = load_topology(name)
    assert topology.name == name == topology_path(name).stem
    fabric = Fabric(topology)
    shown = some_devices(topology)
    for a in shown:
        for b in shown:
            assert bool(route(topology, a.name, b.name).hops) == (a is not b)
            load = fabric.transfer_load(a.name, next(iter(a.spec.tiers)), b.name, next(iter(b.spec.tiers)))
            assert len(load.resources) and load.latency_s >= 0


@pytest.mark.parametrize("name", NAMES)
def test_every_link_states_kind_and_source_itself(name):
    for link in load_topology(name).links:
        assert set(link.constants) == {"forward", "backward", "latency"}
        for constant in link.constants.values():
            assert not constant.source.startswith("declared in"), f"{link.name}: {constant.path} without a source"


def test_the_testbed_is_what_the_paper_describes():
    testbed = load_topology("a6000_2csd")
    assert list(testbed.devices) == ["cpu", "gpu", "csd0", "csd1"]
    assert [device.spec.kind for device in testbed.devices.values()] == ["cpu", "gpu", "csd", "csd"]
    assert testbed.devices["cpu"].spec.tiers["dram"].capacity_bytes == 96 * GIGA
    links = {link.name: link.forward_bytes_per_s for link in testbed.links}
    assert links["gpu.pcie-root"] == 32 * GIGA
    assert links["csd0.pcie-root"] == links["csd1.pcie-root"] == 7 * GIGA


def test_the_two_testbeds_differ_in_the_count_alone():
    assert load_topology("a6000_csd", ["csd.count=2"]).digest == load_topology("a6000_2csd").digest


def test_the_baselines_have_a_plain_drive_and_a_pageable_rate():
    baselines = load_topology("a6000_ssd")
    assert [device.name for device in baselines.group("ssd")] == ["ssd0"]
    assert baselines.devices["ssd0"].spec.compute_queue is None
    pageable = Fabric(baselines).transfer_load("cpu", "dram", "gpu", "hbm", pageable=True)
    assert pageable.rate_limit == baselines.devices["gpu"].spec.ports["pcie"].pageable_bytes_per_s


@pytest.mark.parametrize("count", [1, 4, 20])
def test_drives_can_be_added_from_the_command_line(count):
    assert len(load_topology("a6000_csd", [f"csd.count={count}"]).group("csd")) == count


def narrowest(topology: Topology, a: str, b: str) -> float:
    """The slowest link between two devices [GB/s]."""
    return min(hop.link.forward_bytes_per_s for hop in route(topology, a, b).hops) / GIGA


def test_the_fabrics_of_other_papers_are_there():
    assert {"frontier", "cloudmatrix384", "cloudmatrix384_planes", "gb200_nvl72", "edge_star", "rtx4090_8"} <= set(
        NAMES
    )
    assert {"h100_leaf_spine", "h100_rail", "h100_fat_tree", "h100_dragonfly", "h100_mesh", "tpu_torus"} <= set(NAMES)


def test_nvl72_joins_all_gpus_alike():
    rack = load_topology("gb200_nvl72")
    assert len(rack.group("gpu")) == 72 and len({device.host for device in rack.devices.values()}) == 18
    assert narrowest(rack, "gpu0", "gpu1") == narrowest(rack, "gpu0", "gpu71") == 900


def test_a_frontier_node_has_three_levels_of_bandwidth():
    """OLCF user guide: 200 GB/s in a package, 50 to 100 between packages; four NICs of 25 GB/s a node."""
    node = load_topology("frontier")
    assert [narrowest(node, f"gpu{i}", f"gpu{i + 1}") for i in (0, 2, 4, 6)] == [200] * 4
    between = {narrowest(node, f"gpu{a}", f"gpu{b}") for a in range(8) for b in range(8) if a // 2 != b // 2}
    assert between == {50, 100}
    assert narrowest(node, "gpu0", "gpu8") == 25
    nics = [link for link in node.links if link.name.startswith("nic") and "_h0-" in link.name]
    assert sum(link.forward_bytes_per_s for link in nics) == 100 * GIGA


def test_cloudmatrix_has_768_dies_192_processors_and_two_planes():
    supernode = load_topology("cloudmatrix384")
    assert (len(supernode.group("npu")), len(supernode.group("cpu"))) == (768, 192)
    ways = [[hop.head.vertex for hop in route(supernode, "npu0", other).hops] for other in ("npu1", "npu2", "npu767")]
    assert ways == [["npu1"], ["ub_l1_h0", "npu2"], ["ub_l1_h0", "ub_l2", "ub_l1_h47", "npu767"]]
    without = load_topology("cloudmatrix384", ["link.npu.ub-ub_l1.failed=true"])
    assert [hop.head.vertex for hop in route(without, "npu0", "npu767").hops][:2] == ["rnic_h0", "rdma"]


def test_a_level_1_chip_of_cloudmatrix_has_448_gb_s_upwards_and_a_die_196():
    planes = load_topology("cloudmatrix384_planes")
    up = [link for link in planes.links if link.name.startswith("ub_l1_3_h7-")]
    assert len(up) == 16 and sum(link.forward_bytes_per_s for link in up) == 448 * GIGA
    die = [link for link in planes.links if link.name.startswith("npu5.")]
    assert len(die) == 7 and sum(link.forward_bytes_per_s for link in die) == 196 * GIGA
    assert len(routes_of(planes).paths("npu0", "npu767")) == 7 * 16


def test_gpus_without_peer_access_pass_the_memory_of_the_host():
    box = load_topology("rtx4090_8")
    assert [hop.head.vertex for hop in route(box, "gpu0", "gpu7").hops] == ["bounce", "gpu7"]
