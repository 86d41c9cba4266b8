"""How arrays look to numpy, which lacks some of the types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

NUMPY_DTYPES: Mapping[str, npt.DTypeLike] = {
    "fp64": np.float64, "fp32": np.float32, "fp16": np.float16, "bf16": np.uint16, "fp8": np.uint8, "int64": np.int64,
    "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
}  # fmt: skip
"""How an array of each dtype looks to numpy; bf16 and fp8, which numpy lacks, as their bits in unsigned integers."""


def bf16_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """fp32 values as the bits of the nearest bf16, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def bf16_values(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The inverse: bf16 bits as the fp32 values that they are, exactly."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
