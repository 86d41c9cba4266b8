"""Every shipped topology loads, is joined, and says where its numbers come from."""

from __future__ import annotations

import pytest

from controller.fabric.resources import Fabric
from controller.topology.graph import route
from controller.topology.loader import list_topologies, load_topology
from controller.topology.shipped import topology_path
from node.hardware.units import GIGA

NAMES = list_topologies()


def test_the_testbeds_of_the_first_paper_are_there():
    assert {"a6000_csd", "a6000_2csd", "a6000_ssd", "two_hosts"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_under_the_name_of_its_file_and_is_joined(name):
    topology = load_topology(name)
    assert topology.name == name == topology_path(name).stem
    fabric = Fabric(topology)
    for a in topology.devices.values():
        for b in topology.devices.values():
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
