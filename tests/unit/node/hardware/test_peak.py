"""The unit that runs a kernel and its peak, with fallbacks that are stated."""

import pytest

from node.errors import Unsupported
from node.hardware.catalog import load_product
from node.hardware.device import ComputeSpec
from node.hardware.peak import choose_unit, peak_flop_per_s


@pytest.mark.parametrize(
    ("product", "preferred", "chosen"),
    [
        ("rtx_a6000", "tensor", "tensor"),
        ("rtx_a6000", "vector", "vector"),
        ("xeon_5320", "tensor", "vector"),
        ("instinfer_csd", "tensor", "engine"),
        ("instinfer_csd", "vector", "engine"),
    ],
)
def test_a_device_uses_what_it_has(product, preferred, chosen):
    assert choose_unit(load_product(product), preferred).name == chosen


def test_a_plain_drive_runs_no_kernel():
    with pytest.raises(Unsupported, match="samsung_980_pro_2tb"):
        choose_unit(load_product("samsung_980_pro_2tb"), "vector")


def test_types_fall_back_to_the_sibling_then_to_fp32():
    unit = ComputeSpec("tensor", {"bf16": 8.0, "fp32": 2.0})
    assert [peak_flop_per_s(unit, dtype) for dtype in ("bf16", "fp16", "fp32", "int64")] == [8, 8, 2, 2]


def test_a_matrix_unit_without_eight_bits_is_refused_with_the_nearest_product_that_has_them():
    unit = ComputeSpec("tensor", {"bf16": 312e12, "fp32": 19e12})
    with pytest.raises(Unsupported, match=r"no peak for fp8, only for bf16, fp32; the nearest product that has one is"):
        peak_flop_per_s(unit, "fp8")
    assert peak_flop_per_s(ComputeSpec("vector", {"fp32": 2.0}), "int8") == 2


def test_no_fallback_is_an_error_that_says_what_to_add():
    with pytest.raises(Unsupported, match=r"add tensor\.peak\.fp64"):
        peak_flop_per_s(ComputeSpec("tensor", {"fp8": 8.0}), "fp64", "chip")
