"""Which resources transfers and kernels load, weight by weight, on a host, a GPU and a drive built in code."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.errors import BadPlan, NoRoute, UnknownDevice
from controller.fabric.loads import Fabric
from controller.fabric.parts import Load
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.cost import KernelCost
from node.hardware.device import DeviceSpec, PortSpec, QueueSpec, TierSpec

GPU = DeviceSpec(
    "toy_gpu",
    "gpu",
    "duplex memory with a total",
    tiers={"hbm": TierSpec("hbm", "dram", 10**9, 800e9, 400e9, total_bytes_per_s=900e9, read_latency_s=3e-7)},
    computes={},
    ports={
        "nvlink": PortSpec("nvlink", 50e9, 50e9),
        "pcie": PortSpec("pcie", 32e9, 30e9, latency_s=2e-7, pageable_bytes_per_s=10e9),
    },
    queues={"copy_out": QueueSpec("copy_out", "copy"), "stream": QueueSpec("stream", "compute", slots=2)},
)
HOST = DeviceSpec(
    "toy_host",
    "cpu",
    "a DRAM bus and no queue",
    tiers={"dram": TierSpec("dram", "dram", 10**9, 100e9, 50e9, simplex=True)},
    computes={},
    ports={"pcie": PortSpec("pcie", 64e9, 64e9)},
    queues={},
)
DRIVE = DeviceSpec(
    "toy_drive",
    "csd",
    "flash with pages behind a DRAM",
    tiers={
        "flash": TierSpec("flash", "flash", 10**9, 8e9, 4e9, None, True, 4e-5, 1e-5, page_bytes=4096),
        "dram": TierSpec("dram", "dram", 10**9, 20e9, 10e9),
    },
    computes={},
    ports={"pcie": PortSpec("pcie", 7e9, 6e9, total_bytes_per_s=9e9, latency_s=1e-7)},
    queues={"engine": QueueSpec("engine", "compute")},
)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    devices = {
        name: Device(name, name, 0, "host0", spec)
        for name, spec in {"cpu": HOST, "gpu": GPU, "csd0": DRIVE, "lost": DRIVE}.items()
    }
    links = tuple(
        Link(f"{name}-root", Endpoint(name, "pcie"), Endpoint("root"), forward, backward, 5e-7)
        for name, forward, backward in (("cpu", 64e9, 64e9), ("gpu", 32e9, 31e9), ("csd0", 7e9, 6.5e9))
    )
    return Fabric(Topology("toy", "", devices, ("root",), links))


def taken(fabric: Fabric, load: Load) -> dict[str, float]:
    return {
        fabric.resource_names[index]: float(weight) for index, weight in zip(load.resources, load.weights, strict=True)
    }


def test_a_transfer_loads_tier_port_links_port_and_tier(fabric):
    load = fabric.transfer_load("gpu", "hbm", "csd0", "flash")
    assert taken(fabric, load) == {
        "gpu.hbm.read": 1.0,
        "gpu.hbm.total": 1.0,
        "gpu.pcie.read": 1.0,
        "gpu-root>": 1.0,
        "csd0-root<": 1.0,
        "csd0.pcie.write": 1.0,
        "csd0.pcie.total": 1.0,
        "csd0.flash.simplex": 1 / 4e9,
    }
    assert load.rate_limit == math.inf
    assert load.work == 0.0
    # hbm read 0.3 us, ports 0.2 and 0.1 us, two links of 0.5 us, flash write 10 us.
    assert load.latency_s == pytest.approx(11.6e-6)


def test_the_way_back_loads_the_other_sides(fabric):
    load = fabric.transfer_load("csd0", "flash", "gpu", "hbm")
    assert taken(fabric, load) == {
        "csd0.flash.simplex": 1 / 8e9,
        "csd0.pcie.read": 1.0,
        "csd0.pcie.total": 1.0,
        "csd0-root>": 1.0,
        "gpu-root<": 1.0,
        "gpu.pcie.write": 1.0,
        "gpu.hbm.write": 1.0,
        "gpu.hbm.total": 1.0,
    }
    assert load.latency_s == pytest.approx(41.3e-6)


def test_capacities_are_what_was_declared(fabric):
    capacity = dict(zip(fabric.resource_names, fabric.capacity, strict=True))
    assert capacity["gpu.hbm.read"] == 800e9
    assert capacity["gpu.hbm.write"] == 400e9
    assert capacity["gpu.hbm.total"] == 900e9
    assert capacity["csd0.flash.simplex"] == 1.0
    assert capacity["csd0.pcie.total"] == 9e9
    assert (capacity["csd0-root>"], capacity["csd0-root<"]) == (7e9, 6.5e9)
    assert fabric.capacity.dtype == np.float64
    assert len(set(fabric.resource_names)) == len(fabric.resource_names)
    assert [resource.name for resource in fabric.resources] == list(fabric.resource_names)
    assert fabric.resources[fabric.resource_names.index("csd0.flash.simplex")].owner == "csd0"
    assert fabric.resources[fabric.resource_names.index("csd0-root<")].owner == ""


@pytest.mark.parametrize(
    ("ends", "bytes_per_s"),
    [
        (("gpu", "hbm", "csd0", "flash"), 4e9),
        (("csd0", "dram", "gpu", "hbm"), 7e9),
        (("gpu", "hbm", "csd0", "dram"), 6e9),
    ],
)
def test_alone_it_runs_at_the_narrowest_place(fabric, ends, bytes_per_s):
    load = fabric.transfer_load(*ends)
    assert min(fabric.capacity[load.resources] / load.weights) == pytest.approx(bytes_per_s)


def test_within_a_device_only_the_tiers_are_loaded(fabric):
    load = fabric.transfer_load("csd0", "dram", "csd0", "flash")
    assert taken(fabric, load) == {"csd0.dram.read": 1.0, "csd0.flash.simplex": 1 / 4e9}
    assert load.latency_s == 1e-5


def test_a_copy_within_one_tier_reads_and_writes_it(fabric):
    duplex = taken(fabric, fabric.transfer_load("gpu", "hbm", "gpu", "hbm"))
    assert duplex == {"gpu.hbm.read": 1.0, "gpu.hbm.write": 1.0, "gpu.hbm.total": 2.0}
    bus = taken(fabric, fabric.transfer_load("cpu", "dram", "cpu", "dram"))
    assert bus == {"cpu.dram.simplex": pytest.approx(1 / 100e9 + 1 / 50e9)}


def test_a_pageable_copy_is_limited_by_the_port_that_declares_a_rate(fabric):
    out, back = (fabric.transfer_load(*ends, pageable=True) for ends in _both("gpu", "hbm", "cpu", "dram"))
    assert out.rate_limit == back.rate_limit == 10e9
    assert taken(fabric, out) == taken(fabric, fabric.transfer_load("gpu", "hbm", "cpu", "dram"))


def _both(a: str, tier_a: str, b: str, tier_b: str) -> list[tuple[str, str, str, str]]:
    return [(a, tier_a, b, tier_b), (b, tier_b, a, tier_a)]


def test_a_pageable_copy_without_a_rate_is_an_error(fabric):
    with pytest.raises(BadPlan, match=r"neither of cpu.pcie \(toy_host\) and csd0.pcie \(toy_drive\) declares one"):
        fabric.transfer_load("cpu", "dram", "csd0", "flash", pageable=True)
    with pytest.raises(BadPlan, match="it passes no port"):
        fabric.transfer_load("gpu", "hbm", "gpu", "hbm", pageable=True)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (("gup", "hbm", "cpu", "dram"), "no device 'gup'; did you mean 'gpu'?"),
        (("gpu", "hbn", "cpu", "dram"), "gpu (toy_gpu) has no tier 'hbn'; did you mean 'hbm'?"),
        (("gpu", "hbm", "cpu", "flash"), "cpu (toy_host) has no tier 'flash'; known tiers: dram"),
    ],
)
def test_unknown_places_are_named(fabric, ends, words):
    with pytest.raises(UnknownDevice) as caught:
        fabric.transfer_load(*ends)
    assert words in str(caught.value)


def test_devices_that_nothing_joins(fabric):
    with pytest.raises(NoRoute, match="no route from gpu to lost in toy: lost has no link at all"):
        fabric.transfer_load("gpu", "hbm", "lost", "flash")


def test_loads_are_kept_and_cannot_be_changed(fabric):
    load = fabric.transfer_load("gpu", "hbm", "csd0", "flash")
    assert fabric.transfer_load("gpu", "hbm", "csd0", "flash") is load
    with pytest.raises(ValueError, match="read-only"):
        load.weights[0] = 2.0
    assert (load.resources.dtype, load.weights.dtype) == (np.int32, np.float64)


def cost(time_s: float, reads: dict[str, int], writes: dict[str, int], latency_s: float = 0.0) -> KernelCost:
    return KernelCost(time_s, latency_s, reads, writes, "test", {})


def test_a_kernel_loads_its_tiers_in_proportion_to_its_bytes(fabric):
    load = fabric.kernel_load("gpu", cost(1e-3, {"hbm": 3_000_000}, {"hbm": 1_000_000}, latency_s=2e-6))
    assert load.work == 4e6
    assert load.rate_limit == pytest.approx(4e9)
    assert load.latency_s == 2e-6
    assert taken(fabric, load) == {"gpu.hbm.read": 0.75, "gpu.hbm.total": 1.0, "gpu.hbm.write": 0.25}


def test_a_kernel_bound_by_a_simplex_tier_fills_exactly_that_tier(fabric):
    time_s = 8_000_000 / 8e9 + 1_000_000 / 4e9
    load = fabric.kernel_load("csd0", cost(time_s, {"flash": 8_000_000}, {"flash": 1_000_000}))
    assert load.rate_limit * load.weights[0] == pytest.approx(1.0)
    assert taken(fabric, load).keys() == {"csd0.flash.simplex"}


def test_a_kernel_over_two_tiers_loads_both(fabric):
    load = fabric.kernel_load("csd0", cost(1.0, {"flash": 900, "dram": 0}, {"dram": 100}))
    assert taken(fabric, load) == {"csd0.flash.simplex": pytest.approx(0.9 / 8e9), "csd0.dram.write": 0.1}


def test_a_kernel_that_moves_nothing_flows_for_its_time_at_rate_one(fabric):
    load = fabric.kernel_load("gpu", cost(5e-6, {}, {"hbm": 0}))
    assert (load.work, load.rate_limit, len(load.resources), len(load.weights)) == (5e-6, 1.0, 0, 0)


def test_kernels_on_unknown_devices_and_tiers(fabric):
    with pytest.raises(UnknownDevice, match="no device 'gup'"):
        fabric.kernel_load("gup", cost(1.0, {}, {}))
    with pytest.raises(UnknownDevice, match=r"gpu .* has no tier 'flash'"):
        fabric.kernel_load("gpu", cost(1.0, {"flash": 1}, {}))


def test_queues_have_indices_and_slots(fabric):
    assert fabric.queue_names == ("gpu.copy_out", "gpu.stream", "csd0.engine", "lost.engine")
    assert fabric.slots.tolist() == [1, 2, 1, 1]
    assert fabric.queue_index("gpu", "copy_out") == 0
    assert fabric.queue_index("gpu") == 1, "the first compute queue"
    with pytest.raises(UnknownDevice, match="no queue 'steam'; did you mean 'stream'"):
        fabric.queue_index("gpu", "steam")
    with pytest.raises(UnknownDevice, match=r"cpu .* has no compute queue"):
        fabric.queue_index("cpu")


def test_busy_time_is_what_was_taken_over_capacity(fabric):
    load = fabric.transfer_load("gpu", "hbm", "csd0", "flash")
    busy = fabric.busy_s(load.resources, load.weights, np.full(len(load.resources), 8e9))
    named = dict(zip(fabric.resource_names, busy, strict=True))
    assert named["csd0.flash.simplex"] == pytest.approx(2.0)
    assert named["gpu.hbm.read"] == pytest.approx(0.01)
    assert named["cpu.dram.simplex"] == 0.0
    assert len(busy) == len(fabric.capacity)
