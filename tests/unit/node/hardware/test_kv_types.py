"""What a cache in 8 bits costs to read: half the bytes, and its conversion where that takes longer."""

from __future__ import annotations

import pytest

from node.hardware.catalog import load_product
from node.hardware.conversion import conversion_time, with_conversion
from node.hardware.cost import kernel_cost
from node.hardware.operation import TensorType
from node.hardware.operations import operation


def attention(kind: str, tokens: int = 4096):
    q, k = TensorType((64, 32, 128), "bf16"), TensorType((64, 8, tokens, 128), kind)
    out = [q, TensorType((64, 32), "fp32")]
    return operation("decode_attention").demand([q, k, k], out, {"tokens": (tokens,), "scale": 1.0})


@pytest.mark.parametrize("product", ["h100_sxm", "a100_sxm_80", "mi300x"])
def test_long_contexts_take_about_half_as_long_in_eight_bits(product):
    spec = load_product(product)
    times = {
        kind: kernel_cost(spec, attention(kind), ["hbm"] * 3, ["hbm"] * 2).time_s for kind in ("bf16", "fp8", "int8")
    }
    assert 0.5 * times["bf16"] < times["fp8"] < times["int8"] < 0.8 * times["bf16"]


def test_the_bytes_are_those_of_the_cache_and_each_element_is_converted():
    plain, eight = attention("bf16"), attention("fp8")
    elements = 64 * 8 * 4096 * 128
    assert plain.reads[1:] == (2 * elements,) * 2 and eight.reads[1:] == (elements,) * 2
    assert "conversion" not in plain.dims and eight.dims["conversion"] == 2 * elements


def test_conversion_runs_on_the_lanes_of_all_units():
    h100 = load_product("h100_sxm")
    assert conversion_time(132 * 64 * 1.83e9, h100) == pytest.approx(1.0)
    assert conversion_time(56e12, load_product("kunpeng_920")) > 1.0


def test_the_shorter_of_the_two_hides_but_for_a_share():
    assert with_conversion(2.0, 1.0) == with_conversion(1.0, 2.0) == pytest.approx(2.26)


def test_writing_reads_what_is_computed_and_writes_what_is_kept():
    source, cache = TensorType((4, 8, 1, 128), "bf16"), TensorType((4, 8, 64, 128), "fp8")
    found = operation("kv_write").demand([source], [cache], {"position": 3, "tokens": 1})
    assert (found.reads, found.writes) == ((2 * 4 * 8 * 128,), (4 * 8 * 128,))
