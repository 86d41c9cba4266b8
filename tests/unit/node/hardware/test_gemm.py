"""Tiles and waves of a matrix product."""

from itertools import pairwise

import pytest

from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.gemm import _read_again
from node.hardware.operation import Demand


def gemm_cost(m, n, k, product="rtx_a6000", dtype="bf16"):
    item = 2 if dtype != "fp32" else 4
    work = Demand("gemm", 2.0 * m * n * k, (m * k * item, n * k * item), (m * n * item,), dtype, "tensor",
                  {"m": m, "n": n, "k": k})  # fmt: skip
    name = next(iter(load_product(product).tiers))
    return kernel_cost(load_product(product), work, [name] * 2, [name])


@pytest.mark.parametrize(("m", "measured"), [(128, 18.3 / 16.1), (3072, 148 / 132)])
def test_one_row_more_than_a_tile_costs_a_step(m, measured):
    """Measured on H100 SXM, n = k = 4096: 16.1 -> 18.3 us and 132 -> 148 us; one row is 0.8 % and 0.03 % more work."""
    step = gemm_cost(m + 1, 4096, 4096, "h100_sxm").time_s / gemm_cost(m, 4096, 4096, "h100_sxm").time_s
    assert 1 + 0.4 * (measured - 1) <= step <= measured * 1.05


@pytest.mark.parametrize(("m", "measured_us"), [(128, 16.1), (129, 18.3), (3072, 132.0), (3073, 148.0)])
def test_published_times_of_one_shape(m, measured_us):
    result = gemm_cost(m, 4096, 4096, "h100_sxm")
    assert (result.time_s + result.latency_s) * 1e6 == pytest.approx(measured_us, rel=0.1)


def test_time_never_falls_when_the_product_grows():
    times = [gemm_cost(m, 4096, 4096).time_s for m in range(64, 2048, 61)]
    assert all(later >= earlier * 0.999 for earlier, later in pairwise(times))


def test_a_single_row_is_bound_by_reading_the_weights():
    result = gemm_cost(1, 20480, 5120)
    assert result.bound == "hbm"
    assert result.time_s >= 20480 * 5120 * 2 / 768e9


def test_a_huge_product_runs_at_what_the_power_limit_leaves():
    spec = load_product("rtx_a6000")
    result = gemm_cost(16384, 16384, 8192)
    assert result.bound == "power"
    reached = 2.0 * 16384 * 16384 * 8192 / 154.8e12 / result.time_s
    stated = spec.computes["tensor"].constants["sustained_efficiency"]
    assert 0.95 * stated <= reached <= stated  # a share of the traffic is not hidden


def test_a_huge_product_without_power_limit_comes_near_the_stated_efficiency():
    stated = load_product("a100_sxm_80").computes["tensor"].constants["gemm_efficiency"]
    reached = 2.0 * 16384 * 16384 * 8192 / 312e12 / gemm_cost(16384, 16384, 8192, "a100_sxm_80").time_s
    assert 0.85 * stated <= reached <= stated


@pytest.mark.parametrize("product", ["h100_sxm", "a100_sxm_80", "l40s", "b200_sxm"])
def test_one_row_beyond_a_tile_does_not_cost_a_tile_of_twice_the_rows(product):
    """However many waves the largest tile fills, smaller ones are tried: 257 rows are 5 tiles of 64, not 512 rows."""
    step = gemm_cost(257, 65536, 4096, product).time_s / gemm_cost(256, 65536, 4096, product).time_s
    assert 1.0 < step < 1.4


def test_operands_beyond_the_cache_are_read_again():
    """L40S, 48 Mi elements of bf16 in its cache: 32768 x 7168 x 51200.

    By panels: w has 7.3 caches, so x passes 8 times, 269,312 rows in all; by waves: 142 tiles of 128 x 256 are a square
    of 2157, so 16 x 4 times 4314 rows, 276,096. Once are 39,936.
    """
    held, area = 96 * 2**20 / 2, 142 * 128 * 256
    assert _read_again(32768, 7168, 51200, area, held) == (269_312 - 39_936) * 51200
    assert _read_again(4096, 4096, 4096, area, held) == 0.0
    assert load_product("l40s").computes["tensor"].constants["l2"] == 96 * 2**20


def test_a_narrow_row_goes_to_the_kernel_of_vectors():
    """Measured on A100, 1 x 128 x 768: 3.5 us with 2.8 us of start; two rows take 6.6 us."""
    one, two = (gemm_cost(m, 128, 768, "a100_sxm_80").time_s for m in (1, 2))
    assert one < 0.5 * two


def test_the_clock_sinks_for_all_of_a_product():
    """On a chip at its power limit, filling and storing tiles take longer too."""
    result = gemm_cost(4096, 8192, 512, "l40s")
    spec = load_product("l40s").computes["tensor"]
    stretch = spec.constants["gemm_efficiency"] / spec.constants["sustained_efficiency"]
    assert 1.0 < result.parts["power"] / result.parts["compute"] < stretch


@pytest.mark.parametrize(("m", "n", "k"), [(0, 4096, 4096), (4096, 4096, 0)])
def test_an_empty_product_needs_no_arithmetic(m, n, k):
    assert gemm_cost(m, n, k).parts["compute"] == 0.0


def test_a_device_without_unit_count_uses_the_roofline():
    spec = load_product("xeon_5320")
    result = gemm_cost(1024, 1024, 1024, "xeon_5320", "fp32")
    efficiency = spec.computes["vector"].constants["gemm_efficiency"]
    assert result.parts["compute"] == pytest.approx(2 * 1024**3 / 3.66e12 / efficiency, rel=1e-12)
