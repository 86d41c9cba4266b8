"""Bytes in whole pages and the time that tiers are busy, against closed forms."""

import pytest

from node.errors import UnknownTier
from node.hardware.catalog import load_product
from node.hardware.device import TierSpec
from node.hardware.traffic import paged_bytes, tier_bytes, tier_time_s, tiers_latency_s


@pytest.mark.parametrize(
    ("nbytes", "page", "ranges", "moved"),
    [(100, 1, 1, 100), (1, 4096, 1, 4096), (4096, 4096, 1, 4096), (4097, 4096, 1, 8192), (0, 4096, 8, 0),
     (8 * 100, 4096, 8, 8 * 4096), (8 * 4096, 4096, 8, 8 * 4096)],
)  # fmt: skip
def test_whole_pages_move(nbytes, page, ranges, moved):
    assert paged_bytes(nbytes, page, ranges) == moved


def tier(**changes):
    return TierSpec(**{"name": "t", "storage": "dram", "capacity_bytes": 1, "read_bytes_per_s": 10.0,
                       "write_bytes_per_s": 5.0, **changes})  # fmt: skip


def test_a_duplex_tier_reads_and_writes_side_by_side():
    assert tier_time_s(tier(), 100, 50) == 10.0
    assert tier_time_s(tier(), 10, 50) == 10.0


def test_on_a_simplex_tier_the_times_add_up():
    assert tier_time_s(tier(simplex=True), 100, 50) == 20.0


def test_a_total_limits_both_together():
    assert tier_time_s(tier(total_bytes_per_s=12.0), 100, 50) == 12.5
    assert tier_time_s(tier(total_bytes_per_s=1000.0), 100, 50) == 10.0


def test_operands_add_up_by_tier_each_in_whole_pages():
    spec = load_product("instinfer_csd")
    moved = tier_bytes(spec, (1, 1, 100), ("flash", "flash", "dram"))
    assert moved == {"flash": 8192, "dram": 100}


def test_an_unknown_tier_is_named():
    with pytest.raises(UnknownTier, match="has no tier 'hbm'; it has flash, dram"):
        tier_bytes(load_product("instinfer_csd"), (1,), ("hbm",))


def test_the_slowest_touched_tier_sets_the_latency():
    spec = load_product("instinfer_csd")
    assert tiers_latency_s(spec, {"dram": 1, "flash": 1}, {}) == spec.tiers["flash"].read_latency_s
    assert tiers_latency_s(spec, {"dram": 1, "flash": 0}, {}) == spec.tiers["dram"].read_latency_s
