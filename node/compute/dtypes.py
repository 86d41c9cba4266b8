"""Names of element types and the torch types behind them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from node.errors import DtypeMismatch

TORCH_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "fp64": torch.float64,
        "fp32": torch.float32,
        "fp16": torch.float16,
        "bf16": torch.bfloat16,
        # e4m3 is the fp8 that inference stores; gradients' e5m2 has no name here.
        "fp8": torch.float8_e4m3fn,
        "int64": torch.int64,
        "int32": torch.int32,
        "int16": torch.int16,
        "int8": torch.int8,
        "uint8": torch.uint8,
        "bool": torch.bool,
    }
)
"""Our name to torch's type."""


def torch_dtype(name: str) -> torch.dtype:
    """The torch type called `name`.

    Raises:
        DtypeMismatch: no such name.
    """
    if name not in TORCH_DTYPES:
        raise DtypeMismatch(f"unknown element type {name!r}, expected one of {', '.join(TORCH_DTYPES)}")
    return TORCH_DTYPES[name]
