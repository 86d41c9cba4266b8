"""What a cache holds, what a power limit leaves, and what starting a kernel takes."""

import pytest

from node.hardware.cache import FADE, PARTITIONED_FADE, PARTITIONED_SHARE, cached_share, hit_share
from node.hardware.catalog import list_products, load_product
from node.hardware.launch import FLUSH_CYCLES, KERNEL_START_S, graph_start_s
from node.hardware.operation import Demand
from node.hardware.power import (
    H100_EFFICIENCY,
    H100_SUSTAINED,
    OLDER_NODE,
    REGISTER_FED,
    energy_joule,
    sustained_share,
)  # fmt: skip

MIB = 2**20


def test_what_fits_is_found_and_what_does_not_is_not():
    assert hit_share(96 * MIB, 96 * MIB) == 1.0  # measured on L40S: rows at exactly its 96 MiB find all
    assert hit_share(96 * MIB * FADE, 96 * MIB) == pytest.approx(0.0, abs=1e-12)
    assert hit_share(96 * MIB * FADE**0.5, 96 * MIB) == pytest.approx(0.5)
    assert hit_share(1.0, 0.0) == 0.0


def test_caches_come_in_binary_sizes():
    """Sheets print MB: what fits into 128 MiB of the RTX PRO 6000 does not into 128 MB."""
    for product, mib in (("rtx_pro_6000", 128), ("l40s", 96)):
        assert load_product(product).computes["tensor"].constants["l2"] == mib * MIB


def test_a_partitioned_cache_holds_less():
    assert hit_share(PARTITIONED_SHARE * 50 * MIB, 50 * MIB, 2) == 1.0
    assert hit_share(PARTITIONED_SHARE * PARTITIONED_FADE * 50 * MIB, 50 * MIB, 2) == pytest.approx(0.0, abs=1e-12)


def test_shares_are_weighted_by_bytes():
    dims = {"span": 1000.0 * MIB, "near_span": 1.0 * MIB}
    work = Demand("gemm", 1.0, (MIB, 2 * MIB), (MIB,), "bf16", "tensor", dims)
    assert cached_share(work, {"l2": 50.0 * MIB}) == pytest.approx(0.5)  # x and y are found, the weights are not
    assert cached_share(work, {}) == 0.0


def test_the_power_law_gives_back_what_it_was_taken_from():
    assert sustained_share(989e12, 1.83e9, 700.0) == pytest.approx(H100_SUSTAINED)


def test_a_chip_with_power_to_spare_runs_at_boost():
    assert sustained_share(312e12, 1.41e9, 400.0, node=OLDER_NODE * REGISTER_FED) == H100_EFFICIENCY
    assert sustained_share(989e12, 1.83e9, 1400.0) == H100_EFFICIENCY


def test_half_the_power_costs_a_cube_root():
    full, half = (sustained_share(989e12, 1.83e9, watts) for watts in (600.0, 300.0))
    assert half / full == pytest.approx(0.5 ** (1 / 3))


LAW = [
    product
    for product in list_products()
    for path, constant in load_product(product).constants.items()
    if path.endswith("sustained_efficiency") and "power.sustained_share" in constant.source
]


def test_some_sheets_follow_the_law():
    assert {"b200_sxm", "l40s"} <= set(LAW)


@pytest.mark.parametrize("product", LAW)
def test_sheets_state_what_the_law_says(product):
    spec = load_product(product)
    unit = spec.computes["tensor"]
    node = 1.0 if unit.constants.get("bulk_copies") else REGISTER_FED
    share = sustained_share(unit.peak_flop_per_s["bf16"], unit.constants["clock"], spec.power_w["busy"], node=node)
    assert unit.constants["sustained_efficiency"] == pytest.approx(share, abs=5e-4)


def test_energy_of_an_idle_and_a_busy_hour():
    assert energy_joule(3600.0, 0.0, 100.0, 700.0) == 360e3
    assert energy_joule(3600.0, 3600.0, 100.0, 700.0) == 700.0 * 3600.0


def test_a_kernel_in_a_graph_starts_after_the_gap():
    assert graph_start_s(load_product("h100_sxm")) == pytest.approx(1.26e-6 + KERNEL_START_S)
    # 1.41 GHz: half of the start takes longer by the clock. 1.85 GHz and early starts: no gap but two trips to the L2.
    assert graph_start_s(load_product("a100_sxm_80")) == pytest.approx(1.37e-6 + 0.625e-6 * (1 + 1.83 / 1.41))
    early = FLUSH_CYCLES / 1.85e9 + 0.625e-6 * (1 + 1.83 / 1.85)
    assert graph_start_s(load_product("b200_sxm")) == pytest.approx(early)
    assert early == pytest.approx(1.53e-6, abs=0.01e-6)
    assert graph_start_s(load_product("pm9a3")) == 0.0
    assert graph_start_s(load_product("xeon_8480")) == load_product("xeon_8480").compute_queue.launch_s
