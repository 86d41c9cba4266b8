"""Which memory kernels reach across a link, and how fast it is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import UnknownDevice
from controller.topology.load_store import far_tier, memory_name, reaches, spec_with_far
from controller.topology.loader import load_topology

HOST = load_topology("cxl_finetune", ["aic.count=2"])


def test_a_cpu_reaches_the_cards_of_its_chassis_and_nothing_else_does():
    assert reaches(HOST, "cpu", "cpu") and reaches(HOST, "cpu", "aic1")
    assert not reaches(HOST, "cpu", "gpu0") and not reaches(HOST, "gpu0", "aic0") and not reaches(HOST, "aic0", "cpu")
    away = replace(HOST, devices={**HOST.devices, "aic1": replace(HOST.devices["aic1"], host="elsewhere")})
    assert reaches(away, "cpu", "aic0") and not reaches(away, "cpu", "aic1")


def test_a_far_tier_is_as_fast_as_the_narrowest_on_the_way():
    card = HOST.devices["aic0"].spec.tiers["cxl"]
    assert far_tier(HOST, "cpu", "aic0", "cxl") == card
    narrow = load_topology("cxl_finetune", ["link.aic.pcie-root.bandwidth=16 GB/s"])
    found = far_tier(narrow, "cpu", "aic0", "cxl")
    assert (found.read_bytes_per_s, found.write_bytes_per_s) == (16e9, 16e9)
    assert found.total_bytes_per_s == card.total_bytes_per_s
    port = load_topology("cxl_finetune", ["cpu.pcie.read=8 GB/s"])
    found = far_tier(port, "cpu", "aic0", "cxl")  # what leaves the CPU is written to the card
    assert (found.read_bytes_per_s, found.write_bytes_per_s) == (card.read_bytes_per_s, 8e9)


def test_a_spec_gets_far_tiers_under_names_of_their_own():
    spec = spec_with_far(HOST, "cpu", [("cpu", "dram"), ("aic0", "cxl"), ("aic1", "cxl"), ("aic0", "cxl")])
    assert list(spec.tiers) == ["dram", "aic0.cxl", "aic1.cxl"]
    assert memory_name("cpu", "aic0", "cxl") == "aic0.cxl" and memory_name("cpu", "cpu", "dram") == "dram"
    assert spec_with_far(HOST, "cpu", [("cpu", "dram")]) is HOST.devices["cpu"].spec


@pytest.mark.parametrize(
    ("device", "owner", "tier"), [("gpu0", "aic0", "cxl"), ("cpu", "gpu0", "hbm"), ("cpu", "aic0", "x")]
)
def test_what_cannot_be_reached_is_refused(device: str, owner: str, tier: str):
    with pytest.raises(UnknownDevice, match="transfer it first"):
        far_tier(HOST, device, owner, tier)
