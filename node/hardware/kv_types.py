"""Element types that keys, values and latents may be cached in, and what a kernel does to read them.

A cache in another type than the arithmetic is converted in registers as it is read: `CONVERSION` lane instructions an
element (`conversion.py`). fp8 is e4m3 with a scale of 1, as vLLM takes it where nothing was calibrated; int8 has one
scale for everything, since a plan cannot wait for a calibration.
Source: vLLM, docs 'Quantized KV Cache' (e4m3, scales default to 1.0); TensorRT-LLM, docs 'Numerical precision' (INT8
and FP8 KV caches: one scale a tensor).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from node.errors import DtypeMismatch
from node.hardware.operation import ITEM_BYTES, TensorType

KV_TYPES: Final = ("fp32", "bf16", "fp16", "fp8", "int8")
"""Types of caches, widest first."""
INT8_RANGE: Final = 16.0
"""Assumed: largest magnitude that an int8 cache holds; what is larger is cut."""
CONVERSION: Final[Mapping[str, float]] = {"fp8": 1.0, "int8": 1.5}
"""Lane instructions for an element that becomes a 16-bit one. fp8: ``cvt`` turns two into two at half the rate of a
lane. int8: byte permutations that set an exponent, a subtraction and a scale, two or four elements each.
Source: CUDA C++ Programming Guide, 'Arithmetic Instructions' (throughput of type conversions from 8-bit types: 64 a
clock and SM); Kim et al. 2022, arXiv 2211.10017, section 3.2 (int8 by permutations)."""


def expect_cache(operation: str, operand: str, tensor: TensorType, arithmetic: str) -> None:
    """Raises DtypeMismatch unless `tensor` may be a cache of what is computed in `arithmetic`."""
    if tensor.dtype != arithmetic and tensor.dtype not in KV_TYPES:
        raise DtypeMismatch(
            f"{operation}: {operand} is {tensor.dtype}, expected {arithmetic}, as the arithmetic, or a type of caches, "
            f"one of {', '.join(KV_TYPES)}"
        )


def conversion_instructions(dtype: str, arithmetic: str, nbytes: int) -> float:
    """Lane instructions that turn `nbytes` of a cache into `arithmetic`."""
    if dtype == arithmetic:
        return 0.0
    return CONVERSION.get(dtype, 0.5) * (nbytes // ITEM_BYTES[dtype])
