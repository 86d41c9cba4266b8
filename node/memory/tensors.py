"""Tensors over tier memory, and copies between ranges of it."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from node.memory.tier import StoredBuffer

__all__ = ["Tensor", "bytes_view", "copy_bytes", "set_single_thread", "tensor_view"]


def set_single_thread() -> None:
    """One node is one device: the cores of the machine are shared by processes, not by threads of one."""
    torch.set_num_threads(1)


def tensor_view(
    buffer: StoredBuffer, offset_bytes: int, shape: tuple[int, ...], dtype: torch.dtype, item_bytes: int
) -> Tensor:
    """A tensor on the bytes of a range of `buffer`; nothing is copied.

    Args:
        buffer: where it lies.
        offset_bytes: start of the range, a multiple of `item_bytes` [bytes].
        shape: extents of the tensor.
        dtype: how the bytes are read.
        item_bytes: size of one element [bytes].
    """
    count = prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    memory = buffer.tier.view(buffer, offset_bytes, count * item_bytes)
    return torch.frombuffer(memory, dtype=dtype, count=count).view(shape)


def bytes_view(
    memory: memoryview, offset_bytes: int, shape: tuple[int, ...], dtype: torch.dtype, item_bytes: int
) -> Tensor:
    """A tensor on bytes that are mapped from elsewhere; arguments as of `tensor_view`."""
    count = prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    there = memory[offset_bytes : offset_bytes + count * item_bytes]
    return torch.frombuffer(there, dtype=dtype, count=count).view(shape)


def copy_bytes(destination: memoryview, source: memoryview) -> None:
    """Copies `source` to `destination`, of the same length, without the interpreter's lock."""
    np.copyto(np.frombuffer(destination, np.uint8), np.frombuffer(source, np.uint8))
