"""Packed weights: bytes of a row, what a weight keeps of its value, and what it costs to read them."""

from __future__ import annotations

import numpy as np
import pytest

from node.errors import BadAttribute, Unsupported
from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import Demand, TensorType
from node.hardware.operations import operation
from node.hardware.packed import PackedFormat, parse_format, rounded_bytes, rounded_columns
from node.hardware.packing import pack, unpack

FORMATS = {
    PackedFormat("int", 4, 128, 16, 4): 0.105,
    PackedFormat("int", 4, 128, 16): 0.125,
    PackedFormat("int", 3, 128, 16, 3): 0.23,
    PackedFormat("int", 8, 0, 32): 0.008,
    PackedFormat("fp8", 8, 0, 32, 0, -1): 0.028,
    PackedFormat("fp8", 8, 128, 32, 0, 128): 0.028,
    PackedFormat("fp4", 4, 32, 8): 0.12,
    PackedFormat("nf4", 4, 64, 32): 0.095,
}
"""Format to the largest root mean square of its error over that of normally distributed weights."""


@pytest.mark.parametrize("packed", FORMATS, ids=lambda packed: packed.text)
@pytest.mark.parametrize("shape", [(300, 512), (64, 200), (2, 64, 136)])
def test_a_matrix_comes_back_but_for_its_rounding(packed, shape):
    matrix = (0.05 * np.random.default_rng(3).standard_normal(shape)).astype(np.float32)
    stored = pack(matrix, packed)
    assert stored.shape == (*shape[:-1], packed.row_bytes(shape[-1]))
    back = (
        unpack(stored.reshape(-1, stored.shape[-1]), packed, shape[-1])
        if matrix.ndim == 2
        else np.stack([unpack(one, packed, shape[-1]) for one in stored])
    )
    error = float(np.sqrt(np.mean((back - matrix) ** 2) / np.mean(matrix**2)))
    assert 0 < error < FORMATS[packed]


def test_zeros_stay_zeros():
    for packed in FORMATS:
        assert not unpack(pack(np.zeros((128, 128), np.float32), packed), packed, 128).any()


def test_a_format_says_itself_and_nonsense_is_refused():
    packed = PackedFormat("int", 4, 128, 16, 4)
    assert parse_format(packed.text) == packed
    for text in ("", "int 4", "int 5 128 16 4 0", "posit 8 0 0 0 0"):
        with pytest.raises(BadAttribute, match="format is"):
            parse_format(text)


@pytest.mark.parametrize("block", [True, False])
def test_columns_follow_from_the_bytes_of_rounded_rows(block):
    for columns in (1, 64, 127, 128, 129, 256, 4096, 4100):
        assert rounded_columns(rounded_bytes(columns, block), block) == columns


def linear(m: int, packed: PackedFormat | None, *, rounded: bool = False) -> Demand:
    n, k = 8192, 8192
    if packed is None:
        operands = [TensorType((m, k), "bf16"), TensorType((n, k), "bf16")]
        return operation("linear").demand(operands, [TensorType((m, n), "bf16")], {})
    x = TensorType((m, rounded_bytes(k, False)), "uint8") if rounded else TensorType((m, k), "bf16")
    operands = [x, TensorType((n, packed.row_bytes(k)), "uint8")]
    attributes = {"format": packed.text, "result": "bf16"}
    operation("packed_linear").check(operands, [TensorType((m, n), "bf16")], attributes)
    return operation("packed_linear").demand(operands, [TensorType((m, n), "bf16")], attributes)


def time_s(demand: Demand, product: str = "h100_sxm") -> float:
    return kernel_cost(load_product(product), demand, ["hbm"] * 2, ["hbm"]).time_s


INT4, FP8 = PackedFormat("int", 4, 128, 16, 4), PackedFormat("fp8", 8, 0, 32)


def test_few_rows_gain_from_fewer_bytes_but_less_than_the_bytes_say():
    for product in ("a100_sxm_80", "h100_sxm", "l40s"):
        gain = time_s(linear(1, None), product) / time_s(linear(1, INT4), product)
        assert 1.5 < gain < 3.8  # 16 bits over 4.16 are 3.85


def test_many_rows_pay_for_converting_weights_again_and_again():
    assert time_s(linear(4096, INT4)) > 1.1 * time_s(linear(4096, None))
    assert linear(128, INT4).dims["conversion"] == 2 * linear(1, INT4).dims["conversion"] == 2 * 1.75 * 8192**2


def test_rounded_activations_run_at_the_peak_of_eight_bits():
    demand = linear(4096, FP8, rounded=True)
    assert demand.dtype == "fp8" and "conversion" not in demand.dims
    assert time_s(demand) < 0.7 * time_s(linear(4096, None))


def test_a_chip_without_a_peak_for_the_type_is_refused_with_the_nearest_that_has_one():
    with pytest.raises(Unsupported, match=r"has no peak for fp8, only for .*; the nearest product that has one is"):
        time_s(linear(4096, FP8, rounded=True), "a100_sxm_80")


def test_rounding_reads_a_row_twice_where_its_scale_is_to_be_found():
    x, out = TensorType((64, 4096), "bf16"), TensorType((64, 4100), "uint8")
    token = operation("round_rows").demand([x], [out], {"scales": "token"})
    static = operation("round_rows").demand([x], [out], {"scales": "tensor"})
    assert token.family == "quantisation" and token.reads == (2 * x.nbytes,)
    assert static.reads == (x.nbytes,) and static.writes == token.writes == (64 * 4100,)
