"""Drives and host memory against closed forms and limits."""

import math

import pytest

from node.hardware.catalog import load_product
from node.hardware.dram import (
    READ_SHARE,
    TURN_COST,
    channel_bytes_per_s,
    cxl_bytes_per_s,
    loaded_latency_s,
    mixed_bytes_per_s,
    queued_latency_s,
)  # fmt: skip
from node.hardware.flash import queued_rate_bytes_per_s, read_time_s, write_amplification, write_time_s


def test_a_read_is_latency_and_bytes():
    tier = load_product("smartssd").tiers["flash"]
    assert read_time_s(tier, 2**20) == pytest.approx(tier.read_latency_s + 2**20 / tier.read_bytes_per_s)
    assert read_time_s(tier, 1) == read_time_s(tier, tier.page_bytes)
    assert read_time_s(tier, 0) == 0.0


def test_depth_hides_latency_until_the_drive_streams():
    rates = [queued_rate_bytes_per_s(4096, depth, 50e-6, 7e9) for depth in (1, 2, 64, 4096)]
    assert rates[1] == pytest.approx(2 * rates[0])
    assert rates[0] == pytest.approx(4096 / (50e-6 + 4096 / 7e9))
    assert rates[-1] == 7e9


def test_more_requests_at_once_are_never_slower():
    tier = load_product("pm9a3").tiers["flash"]
    times = [read_time_s(tier, 2**24, depth, 4096) for depth in (1, 2, 8, 32, 256)]
    assert times == sorted(times, reverse=True)
    assert times[-1] >= 2**24 / tier.read_bytes_per_s


def test_overwrites_cost_more_than_appends():
    tier = load_product("pm9a3").tiers["flash"]
    assert write_amplification(0.28, appended=True) == 1.0
    assert write_amplification(0.28) == pytest.approx(1.28 / 0.56)
    assert write_amplification(0.07) > write_amplification(0.28)
    plain, amplified = write_time_s(tier, 2**30), write_time_s(tier, 2**30, amplification=2.0)
    assert amplified / plain == pytest.approx(2.0, rel=1e-3)
    with pytest.raises(ValueError, match="spare area"):
        write_amplification(0.0)


def test_channels_and_mixes():
    assert channel_bytes_per_s(12, 2666) == pytest.approx(255.936e9)
    reads = mixed_bytes_per_s(100e9, 0.0)
    assert reads == 100e9 * READ_SHARE
    assert mixed_bytes_per_s(100e9, 0.5) == pytest.approx(reads / (1 + TURN_COST / 2))
    with pytest.raises(ValueError, match="write share"):
        mixed_bytes_per_s(1.0, 1.5)


def test_latency_grows_without_bound_towards_the_limit():
    assert loaded_latency_s(80e-9, 0.0, 100e9) == 80e-9
    latencies = [loaded_latency_s(80e-9, used, 100e9) for used in (10e9, 50e9, 90e9, 99e9)]
    assert latencies == sorted(latencies)
    assert loaded_latency_s(80e-9, 100e9, 100e9) == math.inf


def test_with_channels_and_banks_told_apart_a_line_waits_twice():
    assert queued_latency_s(80e-9, 0.0, 150e9, 8) == 80e-9
    latencies = [queued_latency_s(80e-9, used, 150e9, 8) for used in (30e9, 75e9, 120e9, 148e9)]
    assert latencies == sorted(latencies)
    # By hand at half load: bus 64 x 8 / 150e9 x 1/2, bank 46 ns x u / (2 (1 - u)) with u = 75e9 x 46e-9 / (64 x 256).
    bank = 75e9 * 46e-9 / (64 * 256)
    assert latencies[1] == pytest.approx(80e-9 + 64 * 8 / 150e9 / 2 + 46e-9 * bank / (2 * (1 - bank)))
    assert queued_latency_s(80e-9, 150e9, 150e9, 8) == math.inf
    assert queued_latency_s(80e-9, 75e9, 150e9, 8, banks=16) > latencies[1]
    assert latencies[1] > loaded_latency_s(80e-9, 75e9, 150e9)
    with pytest.raises(ValueError, match="at least one"):
        queued_latency_s(80e-9, 0.0, 1e9, 0)


def test_a_cxl_card_is_bound_by_its_memory_or_by_one_direction():
    assert cxl_bytes_per_s(0.0, 1000e9, 30e9, 28e9) == 28e9
    assert cxl_bytes_per_s(0.5, 1000e9, 30e9, 28e9) == pytest.approx(56e9)  # both directions at once
    assert cxl_bytes_per_s(0.0, 30e9, 64e9, 64e9) == pytest.approx(30e9 * READ_SHARE)


def test_a_smartssd_writes_at_what_the_example_of_its_vendor_measures():
    """Not at what its data sheet says of its flash behind a host."""
    constant = load_product("smartssd").constants["flash.write"]
    assert constant.kind == "measured" and constant.value == pytest.approx(1.04e9)
