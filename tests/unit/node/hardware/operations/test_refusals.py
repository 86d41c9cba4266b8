"""Operands that do not fit are refused with operation, operand, what was given and what was expected."""

from __future__ import annotations

import pytest

from node.errors import BadAttribute, DtypeMismatch, ShapeMismatch
from node.hardware.operation import TensorType
from node.hardware.operations import operation


def tensors(text: str) -> list[TensorType]:
    """``"2x3 bf16, 4"`` is a (2, 3) of bf16 and a (4,) of fp32; ``.`` is a scalar."""
    result = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        extents, _, dtype = part.partition(" ")
        shape = () if extents == "." else tuple(int(extent) for extent in extents.split("x"))
        result.append(TensorType(shape, dtype or "fp32"))
    return result


SCALE = {"scale": 1.0}
SHAPES = [
    ("linear", "2x8", "2x5", {}, r"got 1 inputs and 1 outputs, expected x, w\[, bias\] -> out"),
    ("linear", "2x8, 5x7", "2x5", {}, r"w has shape \(5, 7\), expected \(n, 8\) because x has 8 columns"),
    ("linear", "2x8, 5x8, 4", "2x5", {}, r"bias has shape \(4,\), expected \(5,\) because w has 5 rows"),
    ("linear", "2x8, 5x8", "2x8", {}, r"out has shape \(2, 8\), expected \(2, 5\)"),
    ("matmul", "2x8, 7x5", "2x5", {}, r"b has shape \(7, 5\), expected \(8, n\)"),
    ("matmul", "2x8x1, 7x5", "2x5", {}, r"a has shape \(2, 8, 1\), expected \(m, k\)"),
    ("add", "2x3, 2", "2x3", {}, r"b has shape \(2,\), expected \(3,\) because a is \(2, 3\)"),
    ("multiply", "2x3, 1x3", "2x3", {}, r"b has shape \(1, 3\)"),
    ("rms_norm", "2x3, 2", "2x3", {"eps": 1e-6}, r"w has shape \(2,\), expected \(3,\)"),
    ("layer_norm", "2x3, 3", "2x3", {"eps": 1e-6}, "expected x, w, bias -> out"),
    ("softmax", ".", ".", {}, r"x has shape \(\), expected \(..., n\)"),
    ("gated_activation", "2x3, 2x4", "2x3", {"kind": "relu"}, r"up has shape \(2, 4\), expected \(2, 3\)"),
    ("cast", "2x3", "3x2 bf16", {}, r"out has shape \(3, 2\), expected \(2, 3\)"),
    ("rotary", "2x7", "2x7", {"head_dim": 4, "position": 0, "theta": 1e4}, "with d even because head_dim is 4"),
    ("rotary", "2x9", "2x9", {"head_dim": 3, "position": 0, "theta": 1e4}, "with d even because head_dim is 3"),
    ("prefill_attention", "1x4x5x8, 1x3x5x8, 1x3x5x8", "1x4x5x8", SCALE, "where g divides 4 because q has 4 heads"),
    ("prefill_attention", "1x4x5x8, 1x2x6x8, 1x2x6x8", "1x4x5x8", SCALE, r"k has shape .* expected \(1, 2, 5, 8\)"),
    ("decode_attention", "1x4x8, 1x2x6x8", "1x4x8, 1x4", {"tokens": (1,), **SCALE}, "expected q, k1, v1"),
    ("decode_attention", "1x4x8, 1x2x6x8, 1x2x6x8", "1x4x8", {"tokens": (1,), **SCALE}, "-> out, lse"),
    (
        *("decode_attention", "1x4x8, 1x2x6x8, 1x2x6x8, 1x4x6x8, 1x4x6x8", "1x4x8, 1x4"),
        *({"tokens": (1, 1), **SCALE}, r"k2 has shape \(1, 4, 6, 8\), expected \(1, 2, T, 8\)"),
    ),
    ("decode_attention", "1x4x8, 1x2x6x8, 1x2x5x8", "1x4x8, 1x4", {"tokens": (1,), **SCALE}, "v1 has shape"),
    ("decode_attention", "1x4x8, 1x2x6x8, 1x2x6x8", "1x4x8, 1x4x1", {"tokens": (1,), **SCALE}, "lse has shape"),
    ("merge_attention", "1x4x8, 1x4, 1x4x8", "1x4x8", {}, r"expected out1, lse1\[, out2, lse2, ...\] -> out\[, lse\]"),
    ("merge_attention", "1x4x8, 1x4x8", "1x4x8", {}, "lse1 has shape"),
    ("merge_attention", "5x1x4x8, 5x1x4, 4x1x4x8, 5x1x4", "5x1x4x8", {}, "out2 has shape"),
    ("merge_new_token", "1x4x8, 1x4, 1x4x8, 1x2x8", "1x4x8", SCALE, "expected before, lse, q, k, v -> out"),
    ("merge_new_token", "1x4x8, 1x4, 1x4x8, 1x3x8, 1x3x8", "1x4x8", SCALE, "k has shape .* where g divides 4"),
    ("merge_new_token", "1x4x8, 1x4x1, 1x4x8, 1x2x8, 1x2x8", "1x4x8", SCALE, "lse has shape"),
    ("merge_new_token", "1x4x8, 1x4, 1x4x8, 1x2x8, 1x4x8", "1x4x8", SCALE, "v has shape"),
    ("block_attention", "5x1x4x8, 6x1x2x8, 6x1x2x8", "5x1x4x8", SCALE, "expected q, k, v -> out, lse"),
    (
        "block_attention",
        "5x1x4x8, 6x1x3x8, 6x1x3x8",
        "5x1x4x8, 5x1x4",
        SCALE,
        "where g divides 4 because q has 4 heads",
    ),
    ("block_attention", "5x1x4x8, 6x2x2x8, 6x2x2x8", "5x1x4x8, 5x1x4", SCALE, r"expected \(6, 1, 2, 8\)"),
    ("block_attention", "5x1x4x8, 6x1x2x8, 5x1x2x8", "5x1x4x8, 5x1x4", SCALE, "v has shape"),
    ("block_attention", "5x1x4x8, 6x1x2x8, 6x1x2x8", "5x1x4x8, 5x4", SCALE, "lse has shape"),
    ("split", "2x9", "2x4, 2x4", {}, r"x has shape \(2, 9\), expected \(..., 8\) because the parts have 8 columns"),
    ("split", "2x9", "2x4, 3x5", {}, r"out2 has shape \(3, 5\), expected \(2, n2\)"),
    ("concat", "2x4, 2x4", "2x9", {}, r"out has shape \(2, 9\), expected \(..., 8\)"),
    ("concat", "", "2x9", {}, "got 0 inputs"),
    ("to_heads", "2x3x8", "2x3x4x2", {"heads": 4}, r"out has shape \(2, 3, 4, 2\), expected \(2, 4, 3, 2\)"),
    ("to_heads", "2x3x8", "2x3x3x2", {"heads": 3}, r"x has shape \(2, 3, 8\), expected \(b, t, 3\*d\)"),
    ("from_heads", "2x4x3x2", "2x4x6", {}, r"out has shape \(2, 4, 6\), expected \(2, 3, 8\)"),
    ("take_rows", "2x3x8", "2x3", {"row": 1}, r"out has shape \(2, 3\), expected \(2, 8\)"),
    ("kv_write", "1x2x3x4", "1x1x9x4", {"position": 0, "tokens": 1}, r"cache has shape .* expected \(1, 2, 9, 4\)"),
    ("embedding", "5x8, 3 int64", "3x7", {}, r"out has shape \(3, 7\), expected \(3, 8\)"),
    ("gather", "5x8, 3x1 int64", "3x8", {}, r"ids has shape \(3, 1\), expected \(k\)"),
    ("top_k", "2x9", "2x3, 2x4 int64", {"k": 3}, r"indices has shape \(2, 4\), expected \(2, 3\)"),
    ("argmax", "2x9", "2x9 int64", {}, r"ids has shape \(2, 9\), expected \(2,\)"),
    ("reduce", "2x3, 3x2", "2x3", {"kind": "sum"}, r"a2 has shape \(3, 2\), expected \(2, 3\) because a1"),
    ("quantise", "2x3", "2x3 int8, 2x1", {}, r"scale has shape \(2, 1\), expected \(2,\)"),
    ("dequantise", "2x3 int8, 3", "2x3", {}, r"scale has shape \(3,\), expected \(2,\)"),
    ("adam", "3, 3, 4, 3", "3, 3, 3", {"lr": 0.1, "step": 1}, r"m has shape \(4,\), expected \(3,\)"),
    ("adam", "3, 3, 3, 3", "3, 3", {"lr": 0.1, "step": 1}, "expected p, g, m, v -> p, m, v"),
    ("delay", "3", "", {"seconds": 1.0}, "got 1 inputs and 0 outputs, expected no operands"),
]
DTYPES = [
    ("linear", "2x8 int8, 5x8 int8", "2x5 int8", {}, "x is int8, expected fp32, bf16 or fp16"),
    ("linear", "2x8 bf16, 5x8", "2x5 bf16", {}, "w is fp32, expected bf16 because x is"),
    ("add", "2 bool, 2 bool", "2 bool", {}, "a is bool"),
    ("rms_norm", "2x3 bf16, 3 fp16", "2x3 bf16", {"eps": 1e-6}, r"w is fp16, expected bf16 .*fp32 is allowed too"),
    ("copy", "2 bf16", "2 fp16", {}, "out is fp16, expected bf16"),
    (
        "decode_attention",
        "1x4x8 bf16, 1x2x6x8 int32, 1x2x6x8 int32",
        "1x4x8 bf16, 1x4",
        {"tokens": (1,), **SCALE},
        "k1 is",
    ),
    (
        *("decode_attention", "1x4x8 bf16, 1x2x6x8 bf16, 1x2x6x8 bf16", "1x4x8 bf16, 1x4 bf16"),
        *({"tokens": (1,), **SCALE}, "lse is bf16, expected fp32"),
    ),
    ("kv_write", "1x2x3x4 bf16", "1x2x9x4 int32", {"position": 0, "tokens": 1}, "cache is int32, expected bf16"),
    ("embedding", "5x8, 3 int32", "3x8", {}, "ids is int32, expected int64"),
    ("argmax", "2x9", "2 int32", {}, "ids is int32, expected int64"),
    ("reduce", "2 int32, 2 int32", "2 int32", {"kind": "mean"}, "a1 is int32, expected .* for a mean"),
    ("reduce", "2 fp8", "2 fp8", {"kind": "sum"}, "a1 is fp8"),
    ("adam", "3 bf16, 3, 3, 3", "3, 3, 3", {"lr": 0.1, "step": 1}, "p is bf16, expected fp32"),
    ("adam", "3, 3 int8, 3, 3", "3, 3, 3", {"lr": 0.1, "step": 1}, "g is int8"),
]
VALUES = [
    ("activation", "2", "2", {"kind": "swish"}, "'kind' is 'swish', expected one of relu, gelu, gelu_tanh, silu"),
    ("reduce", "2", "2", {"kind": "prod"}, "expected one of sum, max, min, mean"),
    ("take_rows", "2x3x8", "2x8", {"row": 3}, "'row' is 3, expected 0 to 2 because x has 3 rows"),
    ("take_rows", "2x3x8", "2x8", {"row": -1}, "'row' is -1"),
    ("top_k", "2x3", "2x4, 2x4 int64", {"k": 4}, "'k' is 4, expected 1 to 3"),
    ("to_heads", "2x3x8", "2x3x8", {"heads": 0}, "'heads' is 0"),
    ("rotary", "2x8", "2x8", {"head_dim": 4, "position": -1, "theta": 1e4}, "'position' is -1"),
    ("rotary", "2x8", "2x8", {"head_dim": 4, "position": 1, "theta": 0.0}, "'theta' is 0.0"),
    ("kv_write", "1x2x3x4", "1x2x9x4", {"position": 8, "tokens": 2}, "'tokens' is 2, expected 0 to 1"),
    ("kv_write", "1x2x3x4", "1x2x9x4", {"position": 10, "tokens": 0}, "'position' is 10, expected 0 to 9"),
    ("kv_write", "1x2x3x4", "1x2x9x4", {"position": 0, "start": 2, "tokens": 2}, "'tokens' is 2, expected 0 to 1"),
    (
        *("prefill_attention", "1x4x5x8, 1x4x5x8, 1x4x5x8", "1x4x5x8"),
        *({"window": 3, "causal": False, **SCALE}, "'window' is 3 with causal=False"),
    ),
    (
        *("decode_attention", "1x4x8, 1x2x6x8, 1x2x6x8", "1x4x8, 1x4"),
        *({"tokens": (7,), **SCALE}, r"'tokens\[0\]' is 7, expected 0 to 6 tokens, which k1 holds"),
    ),
    (
        *("decode_attention", "1x4x8, 1x2x6x8, 1x2x6x8", "1x4x8, 1x4"),
        *({"tokens": (3,), "starts": (4,), **SCALE}, r"'starts\[0\]' is 4, expected 0 to 3"),
    ),
    (
        *("decode_attention", "1x4x8, 1x2x6x8, 1x2x6x8", "1x4x8, 1x4"),
        *({"tokens": (3, 4), **SCALE}, "expected 1 numbers each because there are 1 pairs of K and V"),
    ),
    ("adam", "3, 3, 3, 3", "3, 3, 3", {"lr": 0.1, "step": 0}, "'step' is 0"),
    ("adam", "3, 3, 3, 3", "3, 3, 3", {"lr": 0.1, "step": 1, "beta1": 1.0}, "'beta1' is 1.0"),
    ("delay", "", "", {"seconds": -1.0}, "'seconds' is -1.0"),
]


def refuse(error: type[Exception], name: str, inputs: str, outputs: str, attributes: dict, message: str) -> None:
    with pytest.raises(error, match=f"^{name}: .*{message}"):
        operation(name).check(tensors(inputs), tensors(outputs), attributes)


@pytest.mark.parametrize("launch", SHAPES, ids=lambda launch: f"{launch[0]}-{launch[1]}")
def test_shapes(launch: tuple):
    refuse(ShapeMismatch, *launch)


@pytest.mark.parametrize("launch", DTYPES, ids=lambda launch: f"{launch[0]}-{launch[1]}")
def test_dtypes(launch: tuple):
    refuse(DtypeMismatch, *launch)


@pytest.mark.parametrize("launch", VALUES, ids=lambda launch: f"{launch[0]}-{launch[3]}")
def test_attribute_values(launch: tuple):
    refuse(BadAttribute, *launch)
