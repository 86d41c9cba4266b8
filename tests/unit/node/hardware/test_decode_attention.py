"""Decode attention: what a sheet says about the library that attends on a chip."""

from dataclasses import replace

import pytest

from node.hardware.catalog import list_products, load_product
from node.hardware.cost import kernel_cost
from node.hardware.decode_attention import (
    BLOCK_BYTES,
    BLOCK_CYCLES,
    DECODE_FLOOR_CYCLES,
    EARLY_BLOCK_SHARE,
    LONE_SHARE,
    SWAP_CLOCK_HZ,
    SWAP_S,
    waves_of,
)  # fmt: skip
from node.hardware.operation import TensorType
from node.hardware.operations import complete_attributes, operation


def decode_s(spec, batch, kv_heads, tokens=2, heads=32, dim=128):
    entry = operation("decode_attention")
    q = TensorType((batch, heads, dim), "bf16")
    kv = TensorType((batch, kv_heads, tokens, dim), "bf16")
    attributes = complete_attributes(entry, {"scale": 1.0, "tokens": (tokens,)})
    lse = TensorType((batch, heads), "fp32")
    demand = entry.demand((q, kv, kv), (q, lse), attributes)
    return kernel_cost(spec, demand, ["hbm"] * 3, ["hbm"] * 2).time_s


def without(spec, *names):
    unit = spec.computes["tensor"]
    constants = {name: value for name, value in unit.constants.items() if name not in names}
    return replace(spec, computes={**spec.computes, "tensor": replace(unit, constants=constants)})


A100 = load_product("a100_sxm_80")


@pytest.mark.parametrize(("batch", "kv_heads", "copies"), [(1, 8, False), (8, 1, False), (8, 8, True), (2, 2, True)])
def test_a_library_copies_groups_of_heads_unless_they_lie_together(batch, kv_heads, copies):
    """One sequence or one KV head is a view; else two copies start, 5 us at 1.83 GHz, and move the queries twice."""
    extra_s = decode_s(A100, batch, kv_heads) - decode_s(without(A100, "decode_swap"), batch, kv_heads)
    start_s = SWAP_S * (0.5 + 0.5 * SWAP_CLOCK_HZ / 1.41e9)
    moved_s = 4 * batch * 32 * 128 * 2 / 2.039e12 / 0.84
    assert extra_s == pytest.approx(start_s + moved_s if copies else 0.0, rel=0.05)


def test_heads_of_their_own_are_not_swapped():
    assert decode_s(A100, 8, 32) == decode_s(without(A100, "decode_swap", "decode_block"), 8, 32)


def test_many_blocks_take_the_share_that_the_sheet_says():
    """16,384 blocks on 108 units; streaming hides behind them but for a share, and the floor is small."""
    bare = without(A100, "decode_swap")
    ratio = decode_s(bare, 2048, 8) / decode_s(without(bare, "decode_block"), 2048, 8)
    assert ratio == pytest.approx(0.66, abs=0.03)


def changed(spec, **constants):
    unit = spec.computes["tensor"]
    return replace(spec, computes={**spec.computes, "tensor": replace(unit, constants={**unit.constants, **constants})})


H100 = load_product("h100_sxm")


def test_floor_and_blocks_are_cycles_and_scale_with_the_clock():
    """One token of one sequence: nothing to stream, so that half of the clock takes twice as long."""
    clock_hz = H100.computes["tensor"].constants["clock"]
    full, half = decode_s(H100, 1, 1, tokens=1), decode_s(changed(H100, clock=clock_hz / 2), 1, 1, tokens=1)
    assert full > DECODE_FLOOR_CYCLES / clock_hz
    assert half == pytest.approx(2 * full, rel=0.01)


def test_blocks_that_start_early_leave_a_third_of_a_later_wave():
    """Two waves of blocks of 16 tokens, with and without: of the second one 5,073 cycles are gone."""
    b200 = load_product("b200_sxm")
    unit = b200.computes["tensor"].constants
    batch = int(2 * unit["sm_count"] / 4)
    saved_s = decode_s(without(b200, "early_start"), batch, 4, 16) - decode_s(b200, batch, 4, 16)
    assert saved_s == pytest.approx((1 - EARLY_BLOCK_SHARE) * BLOCK_CYCLES / unit["clock"], rel=0.01)


def test_a_wave_that_is_not_full_takes_as_long_as_one_that_is_until_blocks_drift_apart():
    assert waves_of(1.0) == 1.0 and waves_of(1.01) == 2.0 and waves_of(7.2) == 8.0
    assert waves_of(8.5) == 8.5
    assert waves_of(1e-9) == pytest.approx(LONE_SHARE)
    # 132 units: a block more than a wave of them costs a wave, a block less nothing but its bytes.
    times = [decode_s(H100, batch, 1, 16, heads=8) for batch in (131, 132, 133)]
    assert times[1] == pytest.approx(times[0], rel=0.01) and times[2] > 1.25 * times[1]


def test_a_long_sequence_is_split_as_far_as_units_and_tokens_go():
    """131,072 tokens of one KV head: 64 parts of 2,048 would ask for 512 B a token at 9.2 B a cycle, 62 us."""
    tokens = 131072
    asked_s = tokens / 64 * 512 / BLOCK_BYTES / H100.computes["tensor"].constants["clock"]
    assert decode_s(H100, 1, 1, tokens, heads=8) < 0.6 * asked_s


def test_only_chips_that_were_measured_claim_a_share_of_bandwidth_of_their_own():
    """Others take the H100's over and say so; B200's is what that comes to on its faster memory."""
    for product in list_products():
        constant = load_product(product).constants.get("tensor.decode_efficiency")
        if constant is not None and constant.value == H100.computes["tensor"].constants["decode_efficiency"]:
            assert product == "h100_sxm" or (constant.kind == "assumed" and "H100" in constant.source), product
