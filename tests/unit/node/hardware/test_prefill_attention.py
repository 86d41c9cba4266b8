"""Attention over a prompt: rates by head and generation, padding, the critical path."""

from dataclasses import replace
from math import ceil

import pytest

from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import TensorType
from node.hardware.operations import complete_attributes, operation
from node.hardware.prefill_attention import BULK_FLOOR_S, attention_rate


def prefill_s(product, heads, tokens, dim=128, batch=1, window=0):
    entry = operation("prefill_attention")
    q = TensorType((batch, heads, tokens, dim), "bf16")
    attributes = complete_attributes(entry, {"scale": 1.0, "window": window})
    return kernel_cost(load_product(product), entry.demand((q, q, q), (q,), attributes), ["hbm"] * 3, ["hbm"]).time_s


def constants_of(product):
    return load_product(product).computes["tensor"].constants


def test_a_device_that_nobody_measured_takes_its_sustained_rate():
    """0.672 of the peak, and 512 of 716 FLOP of a score are products."""
    assert attention_rate(constants_of("b200_sxm"), 1.0, 512.0) == pytest.approx(0.672 * 512 / (512 + 204))
    assert attention_rate(constants_of("l40s"), 1.0, 512.0) == pytest.approx(0.676 * 512 / (512 + 327))
    assert "prefill_efficiency" not in constants_of("b200_sxm")


def test_the_measured_share_is_that_of_heads_of_128():
    measured = constants_of("h100_sxm")
    assert attention_rate(measured, 1.0, 512.0) == pytest.approx(measured["prefill_efficiency"])
    narrow, wide = (attention_rate(measured, 1.0, 4.0 * dim) for dim in (64, 256))
    assert narrow < measured["prefill_efficiency"] < wide
    assert narrow / wide == pytest.approx(256 / 460 / (1024 / 1228))


def test_one_head_waits_for_its_last_tile():
    """128 queries of one head meet 32768 keys on one unit: 128 x 32768 x 512 FLOP at 1/132 of 0.565 x 989 TFLOP/s."""
    alone = 128 * 32768 * 512 / (0.565 * 989e12 / 132)
    assert prefill_s("h100_sxm", 1, 32768) == pytest.approx(alone, rel=0.05)
    # 132 heads have 256 tiles each, half of the keys on average: all units are busy for 128 such times.
    assert prefill_s("h100_sxm", 132, 32768) == pytest.approx(128 * alone, rel=0.05)


@pytest.mark.parametrize(("product", "rows"), [("h100_sxm", 64), ("b200_sxm", 128), ("l40s", 16)])
def test_the_last_rows_fill_an_instruction(product, rows):
    times = [prefill_s(product, 32, tokens, batch=64) for tokens in (rows, rows + 1)]
    assert times[0] == pytest.approx(prefill_s(product, 32, max(1, rows - 1), batch=64), rel=0.08)
    assert ceil((rows + 1) / rows) == 2
    assert times[1] > times[0]


def test_a_window_leaves_a_share_of_the_work():
    whole, part = prefill_s("h100_sxm", 64, 16384), prefill_s("h100_sxm", 64, 16384, window=1024)
    assert 0.1 < part / whole < 0.25  # 16 of 134 million pairs, and the ends of as many tiles


def test_half_of_the_floor_scales_with_the_clock():
    """One token: 5.8 us at 1.83 GHz, half of it cycles and half latency of memory."""
    entry = operation("prefill_attention")
    q = TensorType((1, 1, 1, 128), "bf16")
    demand = entry.demand((q, q, q), (q,), complete_attributes(entry, {"scale": 1.0}))
    spec = load_product("h100_sxm")
    unit = spec.computes["tensor"]
    slow = replace(unit, constants={**unit.constants, "clock": unit.constants["clock"] / 2})
    floors = [
        kernel_cost(each, demand, ["hbm"] * 3, ["hbm"]).parts["floor"]
        for each in (spec, replace(spec, computes={**spec.computes, "tensor": slow}))
    ]
    assert floors[0] == pytest.approx(BULK_FLOOR_S, rel=0.01)
    assert floors[1] == pytest.approx(1.5 * floors[0], rel=0.01)


def test_the_power_limit_holds_long_prompts_as_it_holds_long_products():
    """B200: with twice as much to sustain, 8 k tokens of many heads take half as long but for ends and floor."""
    entry = operation("prefill_attention")
    q = TensorType((4, 64, 8192, 128), "bf16")
    demand = entry.demand((q, q, q), (q,), complete_attributes(entry, {"scale": 1.0}))
    spec = load_product("b200_sxm")
    unit = spec.computes["tensor"]
    held = unit.constants["sustained_efficiency"]
    half = replace(unit, constants={**unit.constants, "sustained_efficiency": held / 2})
    full_s, half_s = (
        kernel_cost(each, demand, ["hbm"] * 3, ["hbm"]).time_s
        for each in (spec, replace(spec, computes={**spec.computes, "tensor": half}))
    )
    assert 1.8 < half_s / full_s < 2.0
