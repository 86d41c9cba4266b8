"""Work of the training operations, derived by hand in the comments, and what they refuse."""

from __future__ import annotations

import pytest

from node.errors import BadAttribute, DtypeMismatch, ShapeMismatch
from node.hardware.catalog import load_product
from node.hardware.cost import kernel_cost
from node.hardware.operation import Demand, TensorType
from node.hardware.operations import operation


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


def test_both_gradients_of_a_linear_layer_are_products_of_its_size():
    # 64 rows, 8 -> 5 columns.
    x, dy, w = fp16(4, 16, 8), fp16(4, 16, 5), fp16(5, 8)
    work = demand("linear_input_backward", [dy, w], [x])
    assert (work.flop, work.family, work.unit, work.dtype) == (2 * 64 * 5 * 8, "gemm", "tensor", "fp16")
    assert work.dims == {"m": 64, "n": 8, "k": 5}
    assert (work.reads, work.writes) == ((640, 80), (1024,))
    assert demand("linear_input_backward", [dy, w, x], [x]).flop == 2 * 64 * 5 * 8 + 64 * 8
    work = demand("linear_weight_backward", [x, dy], [w])
    assert (work.flop, work.dims) == (2 * 64 * 5 * 8, {"m": 5, "n": 8, "k": 64})
    # The bias sums 64 rows of 5; gradients in fp32 are 4 bytes each.
    work = demand("linear_weight_backward", [x, dy], [fp32(5, 8), fp32(5)])
    assert (work.flop, work.writes) == (2 * 64 * 5 * 8 + 64 * 5, (160, 20))
    work = demand("linear_weight_backward", [x, dy, w, fp16(5)], [w, fp16(5)])
    assert work.flop == 2 * 64 * 5 * 8 + 64 * 5 + 40 + 5 and work.reads == (1024, 640, 80, 10)


def test_attention_backward_is_two_and_a_half_times_forward():
    # 3 sequences of 8 tokens, 4 query and 2 key heads of 16: 36 causal pairs a head.
    qkv, out, lse, heads = fp16(3, 8, 8 * 16), fp16(3, 8, 64), fp32(3, 4, 8), {"heads": 4, "kv_heads": 2, "scale": 0.25}
    forward = demand("flash_attention", [qkv], [out, lse], **heads)
    assert forward.flop == 4 * 3 * 4 * 36 * 16
    assert (forward.reads, forward.writes) == ((6144,), (3072, 384))
    assert forward.dims["pairs"] == 36 and forward.dims["kv_heads"] == 2
    backward = demand("flash_attention_backward", [qkv, out, lse, out], [qkv], **heads)
    assert backward.flop == 2.5 * forward.flop and backward.reads == (6144, 3072, 384, 3072)
    assert (forward.family, backward.family) == ("prefill_attention",) * 2
    # Windowed: 1 + 2 + 2 x 6 pairs of 8 tokens.
    assert demand("flash_attention", [qkv], [out, lse], **heads, window=2).dims["pairs"] == 15


def test_attention_backward_takes_as_much_longer_on_a_gpu():
    spec = load_product("h100_sxm")
    qkv, out, lse = fp16(4, 4096, 3 * 4096), fp16(4, 4096, 4096), fp32(4, 32, 4096)
    heads = {"heads": 32, "kv_heads": 32, "scale": 0.1}
    forward = kernel_cost(spec, demand("flash_attention", [qkv], [out, lse], **heads), ("hbm",), ("hbm",) * 2)
    work = demand("flash_attention_backward", [qkv, out, lse, out], [qkv], **heads)
    backward = kernel_cost(spec, work, ("hbm",) * 4, ("hbm",))
    assert 2.0 < backward.time_s / forward.time_s < 2.6


def test_rotation_of_packed_projections_leaves_the_values_alone():
    # 6 of 8 heads are turned: 2 x 3 tokens x 6 x 4 elements.
    work = demand("rotary_qkv", [fp16(2, 3, 32)], [fp16(2, 3, 32)], heads=4, kv_heads=2, theta=1e4)
    assert (work.flop, work.reads, work.writes) == (3 * 144, (288,), (288,))


def test_a_sum_in_the_embedding_touches_only_its_rows():
    work = demand("embedding_backward", [fp16(3, 8), int64(3)], [fp16(1000, 8)])
    assert (work.flop, work.reads, work.writes) == (24, (48, 24), (16_000,))
    table = fp32(1000, 8)
    work = demand("embedding_backward", [fp16(3, 8), int64(3), table], [table], scale=2.0)
    assert (work.flop, work.reads, work.writes) == (48, (48, 24, 96), (96,))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "attributes", "flop"),
    [
        ("layer_norm_backward", [fp32(2, 8), fp32(8), fp32(2, 8)], [fp32(2, 8), fp32(8), fp32(8)], {"eps": 0.1}, 256),
        ("rms_norm_backward", [fp32(2, 8), fp32(8), fp32(2, 8)], [fp32(2, 8), fp32(8)], {"eps": 0.1}, 11 * 16),
        ("activation_backward", [fp32(2, 8), fp32(2, 8)], [fp32(2, 8)], {"kind": "silu"}, 9 * 16),
        ("gated_activation_backward", [fp32(2, 8)] * 3, [fp32(2, 8)] * 2, {"kind": "silu"}, (8 + 4 + 3) * 16),
        ("cross_entropy", [fp16(2, 8), int64(2)], [fp32(1), fp16(2, 8)], {"scale": 0.5}, 6 * 16),
        ("sum_rows", [fp16(2, 8)], [fp32(8)], {}, 16),
        ("accumulate", [fp32(2, 8), fp16(2, 8)], [fp32(2, 8)], {}, 16),
        ("accumulate", [fp32(2, 8), fp16(2, 8)], [fp32(2, 8)], {"factor": 0.5}, 32),
        ("scale", [fp16(2, 8)], [fp16(2, 8)], {"factor": 0.5}, 16),
        ("fill", [], [fp16(2, 8)], {"value": 0.0}, 0),
    ],
)
def test_elementwise(name: str, inputs: list, outputs: list, attributes: dict, flop: float):
    work = demand(name, inputs, outputs, **attributes)
    assert (work.family, work.unit, work.dtype, work.flop) == ("elementwise", "vector", "fp32", flop)
    assert work.reads == tuple(tensor.nbytes for tensor in inputs)
    assert work.writes == tuple(tensor.nbytes for tensor in outputs)


def test_adam_may_write_a_copy_of_another_type():
    p = fp32(10)
    work = demand("adam", [p, fp16(10), p, p], [p, p, p, fp16(10)], lr=0.1, step=1)
    assert (work.flop, work.writes) == (140, (40, 40, 40, 20))


def test_adam_in_pieces_is_one_step_over_all_of_them():
    a, b = fp32(10), fp32(4)
    work = demand("adam_pieces", [a] * 4 + [b] * 4, [a] * 3 + [b] * 3, lr=0.1, step=1)
    assert (work.family, work.flop, work.reads, work.writes) == ("optimizer", 14 * 14, (40,) * 4 + (16,) * 4,
                                                                 (40,) * 3 + (16,) * 3)  # fmt: skip
    assert work.dims == {"elements": 14}
    copies = demand("adam_pieces", [a] * 4, [a, a, a, fp16(10)], lr=0.1, step=1, span=160)
    assert copies.writes == (40, 40, 40, 20) and copies.dims == {"elements": 10, "span": 160}


HEADS = {"heads": 4, "kv_heads": 2, "scale": 1.0}


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "attributes", "error", "message"),
    [
        ("linear_input_backward", [fp32(2, 5), fp32(8, 5)], [fp32(2, 5)], {}, ShapeMismatch, r"expected \(5, k\)"),
        ("linear_input_backward", [fp32(2, 5), fp32(5, 8)], [fp32(2, 5)], {}, ShapeMismatch, r"dx has .* \(2, 8\)"),
        ("linear_weight_backward", [fp32(2, 8), fp32(3, 5)], [fp32(5, 8)], {}, ShapeMismatch, r"dy .* \(2, n\)"),
        ("linear_weight_backward", [fp32(2, 8), fp32(2, 5)], [fp32(8, 5)], {}, ShapeMismatch, r"dw .* \(5, 8\)"),
        (
            *("linear_weight_backward", [fp32(2, 8), fp32(2, 5), fp32(5, 8)], [fp32(5, 8), fp32(5)], {}),
            *(ShapeMismatch, r"expected x, dy\[, dw sum\]\[, db sum\] -> dw\[, db\]"),
        ),
        (
            *("linear_weight_backward", [fp16(2, 8), fp16(2, 5)], [TensorType((5, 8), "bf16")], {}),
            *(DtypeMismatch, "dw is bf16, expected fp16 because x is .fp32 is allowed too"),
        ),
        ("flash_attention", [fp32(1, 3, 9)], [fp32(1, 3, 4), fp32(1, 4, 3)], HEADS, ShapeMismatch, r"\(b, t, 8\*d\)"),
        ("flash_attention", [fp32(1, 3, 8)], [fp32(1, 3, 4), fp32(1, 3, 4)], HEADS, ShapeMismatch, r"\(1, 4, 3\)"),
        (
            *("flash_attention", [fp32(1, 3, 8)], [fp32(1, 3, 4), fp32(1, 4, 3)], {**HEADS, "kv_heads": 3}),
            *(BadAttribute, "kv_heads must divide heads"),
        ),
        (
            *("flash_attention", [fp16(1, 3, 8)], [fp16(1, 3, 4), fp16(1, 4, 3)], HEADS),
            *(DtypeMismatch, "lse .*fp16"),
        ),
        (
            *("flash_attention_backward", [fp32(1, 3, 8), fp32(1, 3, 4), fp32(1, 4, 3)], [fp32(1, 3, 8)], HEADS),
            *(ShapeMismatch, "expected qkv, out, lse, dout -> dqkv"),
        ),
        (
            *("rotary_qkv", [fp32(1, 3, 24)], [fp32(1, 3, 24)], {"heads": 4, "kv_heads": 2, "theta": 1e4}),
            *(ShapeMismatch, "d is 3"),
        ),
        ("cross_entropy", [fp32(2, 8), int64(3)], [fp32(1), fp32(2, 8)], {"scale": 1.0}, ShapeMismatch, "targets"),
        ("cross_entropy", [fp32(2, 8), int64(2)], [fp32(2), fp32(2, 8)], {"scale": 1.0}, ShapeMismatch, r"\(1,\)"),
        ("embedding_backward", [fp32(2, 3, 8), int64(2)], [fp32(9, 8)], {}, ShapeMismatch, r"ids .* \(2, 3\)"),
        ("activation_backward", [fp32(2), fp32(2)], [fp32(2)], {"kind": "tanh"}, BadAttribute, "'tanh', expected one"),
        ("rms_norm_backward", [fp32(2, 8), fp32(8), fp32(2, 8)], [fp32(2, 8)], {"eps": 0.1}, ShapeMismatch, "dx, dw"),
        ("sum_rows", [fp32(2, 3, 4)], [fp32(4)], {}, ShapeMismatch, r"\(m, n\)"),
        ("adam", [fp32(3)] * 4, [fp32(3)] * 3 + [fp32(4)], {"lr": 0.1, "step": 1}, ShapeMismatch, "copy has shape"),
        ("adam", [fp32(3)] * 4, [fp32(3)] * 3 + [int64(3)], {"lr": 0.1, "step": 1}, DtypeMismatch, "copy is int64"),
        ("adam_pieces", [fp32(3)] * 6, [fp32(3)] * 3, {"lr": 0.1, "step": 1}, ShapeMismatch, "of every piece"),
        ("adam_pieces", [fp32(3)] * 8, [fp32(3)] * 7, {"lr": 0.1, "step": 1}, ShapeMismatch, "of every piece"),
        ("adam_pieces", [fp32(3)] * 7 + [fp32(4)], [fp32(3)] * 6, {"lr": 0.1, "step": 1}, ShapeMismatch, "v has shape"),
        ("adam_pieces", [fp32(3)] * 4, [fp32(3)] * 3, {"lr": 0.1, "step": 1, "span": -1}, BadAttribute, "'span' is -1"),
    ],
)
def test_what_does_not_fit_is_refused(name, inputs, outputs, attributes, error, message):
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        operation(name).check(inputs, outputs, attributes)
