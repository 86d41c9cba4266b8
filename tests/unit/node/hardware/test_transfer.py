"""Transfers alone, against closed forms."""

import dataclasses

import pytest

from node.errors import Unsupported
from node.hardware.catalog import load_product
from node.hardware.transfer import transfer_cost

GPU, CPU, CSD = load_product("rtx_a6000"), load_product("xeon_5320"), load_product("instinfer_csd")
GIB = 2**30


def test_a_drive_takes_what_a_gpu_pushes_at_its_flash_write_rate():
    cost = transfer_cost(
        GIB, GPU.tiers["hbm"], CSD.tiers["flash"], out_port=GPU.ports["pcie"], in_port=CSD.ports["pcie"]
    )
    assert cost.bound == "write"
    assert cost.time_s == pytest.approx(GIB / 3.78e9, rel=1e-12)


def test_the_narrowest_link_sets_the_rate():
    cost = transfer_cost(
        GIB, CPU.tiers["dram"], GPU.tiers["hbm"], out_port=CPU.ports["pcie"], in_port=GPU.ports["pcie"],
        link_bytes_per_s=7e9, link_latency_s=1e-6,
    )  # fmt: skip
    assert (cost.bound, cost.rate_bytes_per_s) == ("link", 7e9)
    assert cost.latency_s == 1e-6 + CPU.tiers["dram"].read_latency_s


def test_pageable_copies_run_at_the_rate_of_the_accelerators_port():
    cost = transfer_cost(GIB, CPU.tiers["dram"], GPU.tiers["hbm"], out_port=CPU.ports["pcie"],
                         in_port=GPU.ports["pcie"], pageable=True)  # fmt: skip
    assert (cost.bound, cost.rate_bytes_per_s) == ("pageable", GPU.ports["pcie"].pageable_bytes_per_s)


def test_a_pageable_copy_without_a_measured_rate_is_refused():
    with pytest.raises(Unsupported, match="needs a measured rate"):
        transfer_cost(GIB, CPU.tiers["dram"], CSD.tiers["dram"], out_port=CPU.ports["pcie"],
                      in_port=CSD.ports["pcie"], pageable=True)  # fmt: skip


def test_a_copy_within_a_bus_reads_and_writes_it():
    cost = transfer_cost(GIB, GPU.tiers["hbm"], GPU.tiers["hbm"])
    assert cost.bound == "local"
    assert cost.time_s == pytest.approx(2 * GIB / 768e9, rel=1e-12)


def test_a_software_path_may_be_the_narrowest():
    cost = transfer_cost(GIB, CSD.tiers["flash"], CSD.tiers["dram"], rate_limit_bytes_per_s=2e9)
    assert (cost.bound, cost.time_s) == ("path", GIB / 2e9)


def test_whole_pages_move():
    one = transfer_cost(1, CSD.tiers["flash"], CSD.tiers["dram"])
    page = transfer_cost(4096, CSD.tiers["flash"], CSD.tiers["dram"])
    assert one == page
    assert one.latency_s == CSD.tiers["flash"].read_latency_s


def test_more_bandwidth_is_never_slower():
    slow = CSD.tiers["flash"]
    for factor in (1.0, 1.5, 2.0, 10.0):
        fast = dataclasses.replace(slow, read_bytes_per_s=factor * slow.read_bytes_per_s)
        assert transfer_cost(GIB, fast, CSD.tiers["dram"]).time_s <= transfer_cost(GIB, slow, CSD.tiers["dram"]).time_s


def test_nothing_takes_no_time():
    assert transfer_cost(0, CPU.tiers["dram"], GPU.tiers["hbm"]).time_s == 0.0
