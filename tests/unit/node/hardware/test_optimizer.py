"""The optimizer step behind caches, and DMA writes into them, against closed forms and limits."""

import dataclasses
import itertools

import pytest

from node.hardware.cache import absorbed_write_s, held_share
from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import Demand

HOST = load_product("cxl_tuning_host")
GPU = load_product("h100_sxm")
MIB = 2**20


def step(elements, span=True):
    dims = {"elements": elements} | ({"span": 16.0 * elements} if span else {})
    sizes = (4 * elements,)
    return Demand("optimizer", 14.0 * elements, sizes * 4, sizes * 3, "fp32", "vector", dims)


def seconds(spec, demand, tier="dram"):
    return kernel_cost(spec, demand, (tier,) * 4, (tier,) * 3).time_s


def test_caches_keep_what_they_hold_of_any_pass():
    assert held_share(100.0, 100.0) == 1.0
    assert held_share(400.0, 100.0) == 0.25
    assert held_share(1.0, 0.0) == 0.0


def test_without_a_claim_everything_comes_from_memory():
    elements = 2_000_000
    assert seconds(HOST, step(elements, span=False)) == pytest.approx(28 * elements / 275.9e9)
    assert seconds(HOST, step(elements, span=False), "cxl") == pytest.approx(28 * elements / 67.6e9)


def test_a_step_that_fits_does_not_see_where_its_tensors_lie():
    fits = 13_000_000
    assert seconds(HOST, step(fits), "cxl") == pytest.approx(seconds(HOST, step(fits)))
    assert seconds(HOST, step(4 * fits), "cxl") > 3 * seconds(HOST, step(4 * fits))


def test_each_element_beyond_the_caches_costs_its_time_at_memory():
    small, large = 20_000_000, 30_000_000
    for tier, rate in (("dram", 275.9e9), ("cxl", 67.6e9)):
        more = seconds(HOST, step(large), tier) - seconds(HOST, step(small), tier)
        assert more == pytest.approx(28 * (large - small) / rate, rel=1e-9)


def test_time_grows_with_the_tensor_and_nothing_jumps():
    sizes = [round(1_000_000 * 1.1**power) for power in range(70)]
    times = [seconds(HOST, step(size)) for size in sizes]
    for before, after in itertools.pairwise(times):
        assert before < after < 1.5 * before


def test_a_larger_cache_is_never_slower():
    unit = HOST.computes["vector"]
    for factor in (1.0, 2.0, 8.0):
        larger = dataclasses.replace(unit, constants={**unit.constants, "private": factor * unit.constants["private"]})
        spec = dataclasses.replace(HOST, computes={"vector": larger})
        assert seconds(spec, step(50_000_000)) <= seconds(HOST, step(50_000_000))


def test_tensors_interleaved_over_two_memories_take_the_slower_share():
    elements = 600_000_000
    sizes = (2 * elements,)
    dims = {"elements": elements}
    both = Demand("optimizer", 14.0 * elements, sizes * 8, sizes * 6, "fp32", "vector", dims)
    tiers = ("dram", "cxl")
    assert kernel_cost(HOST, both, tiers * 4, tiers * 3).time_s == pytest.approx(14 * elements / 67.6e9)


def test_a_gpu_steps_at_the_rate_of_its_memory():
    elements = 100_000_000
    cost = kernel_cost(GPU, step(elements), ("hbm",) * 4, ("hbm",) * 3)
    share = GPU.computes["vector"].constants["memory_efficiency"]
    assert cost.time_s == pytest.approx(28 * elements / GPU.tiers["hbm"].read_bytes_per_s / share)
    assert cost.bound == "hbm"


def test_small_device_writes_run_at_the_link_and_long_ones_at_the_memory():
    link, memory, cache = 55e9, 36e9, 105 * MIB
    assert absorbed_write_s(64 * MIB, cache, link, memory) == 64 * MIB / link
    long = 2**40
    assert absorbed_write_s(long, cache, link, memory) == pytest.approx(long / memory, rel=1e-3)
    assert absorbed_write_s(long, 0, link, memory) == long / memory
    # Memory that is faster than the link leaves the link as the limit.
    assert absorbed_write_s(long, cache, link, 200e9) == pytest.approx(long / link)
