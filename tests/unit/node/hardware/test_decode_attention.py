"""Decode attention: what a sheet says about the library that attends on a chip."""

from dataclasses import replace

import pytest

from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.decode_attention import SWAP_CLOCK_HZ, SWAP_S
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
