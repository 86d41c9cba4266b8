"""Launches with packed weights, for the conformance suite."""

from __future__ import annotations

import numpy as np

from node.hardware.packed import PackedFormat
from node.hardware.packing import pack, unpack

FP, F32, I64, U8 = "fp", "fp32", "int64", "uint8"
INT4 = PackedFormat("int", 4, 4, 16, 4)
FP8 = PackedFormat("fp8", 8, 0, 32)
MATRICES = np.random.default_rng(7).standard_normal((3, 5, 8)).astype(np.float32)


def rounded(x, *, scales="token", kind="fp8"):
    """int8 with one scale a row, byte by byte."""
    scale = (np.abs(x).max(-1, keepdims=True) / 127).astype(np.float32)
    codes = np.round(x / scale).astype(np.int8)
    return (np.concatenate([codes.view(np.uint8), scale.view(np.uint8)], -1),)


def product(x, w, bias=0.0, *, format, result, packed=INT4):
    return (x @ unpack(w.astype(np.uint8), packed, 8).T + bias,)


def grouped(rows, w, ends, *, format, result, capacity=0):
    out, start = np.zeros((len(rows), 5)), 0
    for expert, stop in enumerate(ends):
        out[start:stop] = rows[start:stop] @ unpack(w[expert].astype(np.uint8), FP8, 8).T
        start = stop
    return (out,)


def cases(case):
    """By operation."""
    four = pack(MATRICES[0], INT4)
    eight = pack(MATRICES, FP8)
    makes = {"format": INT4.text, "result": "fp32"}
    return {
        "gate_rows": (case((((3, 5), FP), ((3, 1), FP)), (((3, 5), FP),), lambda x, s: (x / (1 + np.exp(-s)),)),),
        "round_rows": (case((((3, 8), FP),), (((3, 12), U8),), rounded, {"scales": "token", "kind": "int"}),),
        "packed_linear": (
            case((((2, 8), FP), (four.shape, U8)), (((2, 5), F32),), product, makes, given={1: four.tolist()}),
            case(
                (((8,), FP), (four.shape, U8), ((5,), F32)), (((5,), F32),), product, makes, given={1: four.tolist()},
            ),
        ),
        "packed_grouped_linear": (
            case(
                (((6, 8), FP), (eight.shape, U8), ((3,), I64)), (((6, 5), F32),), grouped,
                {"format": FP8.text, "result": "fp32"}, given={1: eight.tolist(), 2: (2, 2, 6)},
            ),
            case(
                (((6, 8), FP), (eight.shape, U8), ((3,), I64)), (((6, 5), F32),), grouped,
                {"format": FP8.text, "result": "fp32", "capacity": 2}, given={1: eight.tolist(), 2: (2, 2, 4)},
            ),
        ),
    }  # fmt: skip
