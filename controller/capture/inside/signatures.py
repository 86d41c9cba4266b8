"""What of a call decides its time: types of its operands, and numbers among its arguments."""

from __future__ import annotations

from typing import Any

import torch

_DTYPES = {
    torch.float64: "fp64", torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8", torch.float8_e5m2: "fp8", torch.int64: "int64", torch.int32: "int32",
    torch.int16: "int16", torch.int8: "int8", torch.uint8: "uint8", torch.bool: "bool",
}  # fmt: skip


def dtype_of(dtype: torch.dtype) -> str:
    """The operation table's name of an element type, or torch's own."""
    return _DTYPES.get(dtype, str(dtype).removeprefix("torch."))


def type_of(tensor: Any) -> tuple[tuple[int, ...], str, int, bool]:
    """Shape, type, elements that lie in memory (an expanded axis holds one), and whether they are in order."""
    shape = tuple(tensor.shape)
    elements = 1
    for extent, stride in zip(shape, tensor.stride(), strict=True):
        elements *= extent if stride or not extent else 1
    return shape, dtype_of(tensor.dtype), elements, tensor.is_contiguous()


def tensors_in(values: Any) -> list[Any]:
    """Every tensor of a value, in order."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, list | tuple):
        return [tensor for value in values for tensor in tensors_in(value)]
    return []


def scalars(args: Any, kwargs: Any) -> tuple[Any, ...]:
    """Numbers, texts and tuples of numbers among the arguments, by position or name."""
    found: list[Any] = []
    for place, value in [*enumerate(args), *kwargs.items()]:
        if value is None or isinstance(value, torch.Tensor):
            continue
        if isinstance(value, bool | int | float | str):
            found.append((place, float(value) if isinstance(value, float) else value))
        elif isinstance(value, list | tuple) and all(isinstance(item, int) for item in value):
            found.append((place, tuple(int(item) for item in value)))
    return tuple(found)
