"""Caches in other types than the arithmetic: what is kept of a value, and attention over it."""

from __future__ import annotations

import pytest
import torch

from node.compute.kernels import run
from node.compute.kv_types import from_cache, to_cache
from node.errors import DtypeMismatch
from node.hardware.operation import TensorType
from node.hardware.operations import operation

LARGEST_ERROR = {"fp16": 2.0**-11, "bf16": 2.0**-8, "fp8": 2.0**-4}
TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn, "int8": torch.int8}


@pytest.mark.parametrize("kind", LARGEST_ERROR)
def test_a_value_keeps_the_bits_of_its_type(kind):
    x = torch.linspace(0.1, 400.0, 1000)
    found = from_cache(to_cache(x, TORCH[kind]))
    assert float(((found - x).abs() / x).max()) <= LARGEST_ERROR[kind]


def test_int8_has_one_step_and_cuts_what_is_beyond():
    x = torch.tensor([-20.0, -16.0, 0.05, 3.0, 17.0])
    step = 16.0 / 127.0
    assert torch.allclose(from_cache(to_cache(x, torch.int8)), torch.tensor([-16.0, -16.0, 0.0, 24 * step, 16.0]))


def test_fp8_becomes_its_largest_number_and_no_nan():
    assert from_cache(to_cache(torch.tensor([1e4, -1e4]), torch.float8_e4m3fn)).tolist() == [448.0, -448.0]


@pytest.mark.parametrize("kind", TORCH)
def test_attention_over_a_rounded_cache_is_that_over_its_rounded_values(kind):
    torch.manual_seed(1)
    q, kv = torch.randn(2, 4, 8), torch.randn(2, 2, 2, 6, 8)
    cached = [torch.zeros(2, 2, 6, 8, dtype=TORCH[kind]) for _ in range(2)]
    for source, cache in zip(kv, cached, strict=True):
        run("kv_write", [source], [cache], {"position": 0, "tokens": 6})
    results = []
    for keys_values in (cached, [from_cache(each) for each in cached]):
        out, lse = torch.zeros(2, 4, 8), torch.zeros(2, 4)
        run("decode_attention", [q, *keys_values], [out, lse], {"tokens": (5,), "scale": 0.3})
        results.append((out, lse))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_a_cache_of_numbers_that_are_no_cache_is_refused():
    q = TensorType((2, 4, 8), "bf16")
    k = TensorType((2, 2, 6, 8), "int64")
    out = [q, TensorType((2, 4), "fp32")]
    with pytest.raises(DtypeMismatch, match="k1 is int64, expected bf16, as the arithmetic, or a type of caches"):
        operation("decode_attention").check([q, k, k], out, {"tokens": (5,), "scale": 1.0})
