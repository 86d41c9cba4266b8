"""Work of a launch, derived by hand in the comments."""

from __future__ import annotations

import pytest

from node.hardware.operation import Demand, TensorType
from node.hardware.operations import operation
from node.hardware.operations.attention import attended_pairs, visible_pairs


def demand(name: str, inputs: list[TensorType], outputs: list[TensorType], **attributes: object) -> Demand:
    entry = operation(name)
    entry.check(inputs, outputs, attributes)
    return entry.demand(inputs, outputs, attributes)


def fp16(*shape: int) -> TensorType:
    return TensorType(shape, "fp16")


def fp32(*shape: int) -> TensorType:
    return TensorType(shape, "fp32")


def int64(*shape: int) -> TensorType:
    return TensorType(shape, "int64")


def test_linear_of_opt_13b():
    # 256 rows, 5120 x 5120 in fp16: 2 x 256 x 5120 x 5120, and one addition an output element for the bias.
    work = demand("linear", [fp16(256, 1, 5120), fp16(5120, 5120), fp16(5120)], [fp16(256, 1, 5120)])
    assert work.flop == 13_421_772_800 + 1_310_720
    assert work.reads == (2_621_440, 52_428_800, 10_240) and work.writes == (2_621_440,)
    assert (work.family, work.unit, work.dtype) == ("gemm", "tensor", "fp16")
    assert work.dims == {"m": 256, "n": 5120, "k": 5120}


def test_matmul():
    work = demand("matmul", [fp32(3, 8), fp32(8, 5)], [fp32(3, 5)])
    assert (work.flop, work.reads, work.writes) == (240, (96, 160), (60,))
    assert work.dims == {"m": 3, "n": 5, "k": 8} and work.unit == "tensor"


def test_decode_attention_reads_only_the_attended_tokens():
    # Two segments of capacity 2048: 100 tokens of 700 because of a window, and 20 of 20.
    # A token of K: 2 sequences x 4 KV heads x 64 x 2 bytes = 1024 bytes.
    cache = fp16(2, 4, 2048, 64)
    work = demand(
        "decode_attention",
        [fp16(2, 8, 64), cache, cache, cache, cache],
        [fp16(2, 8, 64), fp32(2, 8)],
        tokens=(700, 20),
        starts=(600, 0),
        scale=0.125,
    )
    assert work.reads == (2048, 102_400, 102_400, 20_480, 20_480) and work.writes == (2048, 64)
    assert work.flop == 4 * 2 * 8 * 120 * 64
    assert work.dims == {"batch": 2, "heads": 8, "kv_heads": 4, "tokens": 120, "head_dim": 64}
    assert (work.family, work.unit) == ("decode_attention", "tensor")


def test_decode_attention_without_a_token_reads_only_the_query():
    cache = fp16(2, 4, 2048, 64)
    work = demand(
        "decode_attention", [fp16(2, 8, 64), cache, cache], [fp16(2, 8, 64), fp32(2, 8)], tokens=(0,), scale=0.125
    )
    assert work.flop == 0 and work.reads == (2048, 0, 0)


@pytest.mark.parametrize(
    ("tokens", "causal", "window", "pairs"),
    [
        (5, False, 0, 25),
        (5, True, 0, 15),  # 1 + 2 + 3 + 4 + 5
        (5, True, 2, 9),  # 1 + 2 + 2 + 2 + 2
        (5, True, 1, 5),
        (5, True, 5, 15),
        (5, True, 9, 15),
    ],
)
def test_attended_pairs(tokens: int, causal: bool, window: int, pairs: int):
    assert attended_pairs(tokens, causal, window) == pairs


def test_prefill_attention():
    q, kv = fp16(2, 8, 5, 64), fp16(2, 4, 5, 64)
    work = demand("prefill_attention", [q, kv, kv], [q], scale=0.125, window=2)
    # 9 pairs of 5 tokens; two products of 64 multiplies and adds a pair.
    assert work.flop == 4 * 2 * 8 * 9 * 64
    assert work.reads == (10_240, 5_120, 5_120) and work.writes == (10_240,)
    assert (work.dims["causal"], work.dims["window"], work.dims["pairs"]) == (1.0, 2, 9)
    assert (work.family, work.unit, work.dtype) == ("prefill_attention", "tensor", "fp16")


@pytest.mark.parametrize(
    ("queries", "keys", "causal", "offset", "pairs"),
    [
        (4, 4, True, 0, 1 + 2 + 3 + 4),
        (4, 4, True, -1, 0 + 1 + 2 + 3),
        (4, 3, True, 1, 2 + 3 + 3 + 3),
        (2, 8, True, 5, 6 + 7),
        (3, 3, True, -7, 0),
        (3, 2, True, 9, 3 * 2),
        (3, 5, False, 0, 15),
        (0, 5, True, 2, 0),
        (5, 0, True, 2, 0),
    ],
)
def test_visible_pairs(queries: int, keys: int, causal: bool, offset: int, pairs: int):
    assert visible_pairs(queries, keys, causal, offset) == pairs


def test_block_attention():
    q, kv = fp16(5, 2, 8, 64), fp16(3, 2, 4, 64)
    work = demand("block_attention", [q, kv, kv], [q, fp32(5, 2, 8)], scale=0.125, offset=-1)
    # Queries see 0, 1, 2, 3 and 3 keys.
    assert work.flop == 4 * 2 * 8 * 9 * 64
    assert work.reads == (10_240, 3_072, 3_072) and work.writes == (10_240, 320)
    assert (work.family, work.unit, work.dtype) == ("prefill_attention", "tensor", "fp16")
    assert (work.dims["tokens"], work.dims["keys"], work.dims["pairs"]) == (5, 3, 9)


def test_only_touched_rows_are_read():
    # Three rows of 8 fp16 and three ids of 8 bytes, however large the table is.
    work = demand("embedding", [fp16(50_000, 8), int64(3)], [fp16(3, 8)])
    assert (work.reads, work.writes, work.flop) == ((48, 24), (48,), 0)
    assert demand("embedding", [fp16(50_000, 8), int64(3)], [fp16(3, 8)], scale=2.0).flop == 24
    assert demand("gather", [fp16(50_000, 8), int64(3)], [fp16(3, 8)]).reads == (48, 24)
    work = demand("take_rows", [fp16(2, 1000, 8)], [fp16(2, 8)], row=999)
    assert (work.reads, work.writes) == ((32,), (32,))


def test_kv_write_moves_only_its_tokens():
    # 3 tokens x 2 sequences x 4 heads x 64 x 2 bytes.
    work = demand("kv_write", [fp16(2, 4, 10, 64)], [fp16(2, 4, 2048, 64)], position=7, start=1, tokens=3)
    assert (work.reads, work.writes, work.flop) == ((3072,), (3072,), 0)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "attributes", "flop"),
    [
        ("layer_norm", [fp32(2, 8), fp32(8), fp32(8)], [fp32(2, 8)], {"eps": 1e-5}, 7 * 16 + 4 * 2),
        ("rms_norm", [fp32(2, 8), fp32(8)], [fp32(2, 8)], {"eps": 1e-5}, 4 * 16 + 3 * 2),
        ("rms_norm", [fp32(2, 8), fp32(8)], [fp32(2, 8)], {"eps": 1e-5, "offset": 1.0}, 4 * 16 + 3 * 2 + 8),
        ("softmax", [fp32(2, 8)], [fp32(2, 8)], {}, 5 * 16),
        ("add", [fp32(2, 8), fp32(8)], [fp32(2, 8)], {}, 16),
        ("gated_activation", [fp32(2, 8), fp32(2, 8)], [fp32(2, 8)], {"kind": "gelu_tanh"}, 10 * 16),
        ("rotary", [fp32(2, 8)], [fp32(2, 8)], {"head_dim": 4, "position": 3, "theta": 1e4}, 3 * 16),
        ("reduce", [fp32(2, 8)] * 3, [fp32(2, 8)], {"kind": "mean"}, 3 * 16),
        ("cast", [fp32(2, 8)], [fp16(2, 8)], {}, 0),
        # Per row and part: 8 x (multiply, add) + 4; then 8 divisions and 2 for the new log-sum-exp.
        ("merge_attention", [fp32(1, 2, 8), fp32(1, 2)] * 2, [fp32(1, 2, 8), fp32(1, 2)], {}, 2 * (2 * 20 + 8 + 2)),
        # Per row and head: a product of 8, two exponentials, their sum, two weights and more, and a weighted sum of 8.
        ("merge_new_token", [fp32(1, 2, 8), fp32(1, 2), *[fp32(1, 2, 8)] * 3], [fp32(1, 2, 8)], {"scale": 1.0}, 2 * 47),
        ("quantise", [fp32(2, 8)], [TensorType((2, 8), "int8"), fp32(2)], {}, 4 * 16 + 2),
    ],
)
def test_elementwise(name: str, inputs: list, outputs: list, attributes: dict, flop: float):
    work = demand(name, inputs, outputs, **attributes)
    assert (work.family, work.unit, work.dtype) == ("elementwise", "vector", "fp32")
    assert work.flop == flop
    assert work.reads == tuple(tensor.nbytes for tensor in inputs)
    assert work.writes == tuple(tensor.nbytes for tensor in outputs)


def test_top_k_compares_every_element_in_a_family_of_its_own():
    work = demand("top_k", [fp32(2, 8)], [fp32(2, 3), int64(2, 3)], k=3)
    assert (work.family, work.unit, work.dtype, work.flop) == ("selection", "vector", "fp32", 16)
    assert (work.reads, work.writes) == ((64,), (24, 48))
    assert work.dims["elements"] == 16


def test_adam_reads_four_and_writes_three():
    p = fp32(10)
    work = demand("adam", [p, fp16(10), p, p], [p, p, p], lr=0.1, step=1)
    assert (work.family, work.flop, work.reads, work.writes) == ("optimizer", 140, (40, 20, 40, 40), (40, 40, 40))


def test_delay_has_only_its_seconds():
    work = demand("delay", [], [], seconds=0.25)
    assert (work.family, work.dims, work.flop, work.reads, work.writes) == ("delay", {"seconds": 0.25}, 0, (), ())
