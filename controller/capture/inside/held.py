"""Bytes that live tensors hold on the device, as the program takes and gives them."""

from __future__ import annotations

import weakref
from typing import Any

import torch

from controller.capture.inside.log import Log

GRAIN_BYTES = 512
"""The caching allocator of PyTorch rounds sizes up to this (c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize)."""


def rounded(nbytes: int) -> int:
    """What the allocator hands out for `nbytes` [bytes]."""
    return -(-nbytes // GRAIN_BYTES) * GRAIN_BYTES


class Held:
    """Live storages of the device and their sizes."""

    def __init__(self, log: Log, shim: Any) -> None:
        self._log, self._shim = log, shim
        self._live: dict[int, tuple[int, int]] = {}
        self._next = 0
        self.bytes = self.peak_bytes = self.taken_bytes = 0

    def track(self, tensor: Any) -> None:
        """Notes the storage of a tensor on the device, once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        self._next += 1
        size = rounded(storage.nbytes())
        self._live[key] = (self._next, size)
        self._grow(size)
        self._log.add("take", self._next, size, self._shim.current_stream(self._shim.current_device()))
        weakref.finalize(storage, self._drop, key)

    def number(self, tensor: Any) -> int:
        """Number of the storage of a tensor; 0 where it is not known."""
        return self._live.get(tensor.untyped_storage()._cdata, (0, 0))[0]

    def resize(self, key: int, nbytes: int) -> None:
        """Notes that a storage was given back and taken anew, as FSDP does with what it gathers."""
        known = self._live.get(key)
        if known is None:
            return
        number, before = known
        size = rounded(nbytes)
        if before:
            self._log.add("give", number)
        self._next += 1
        self._live[key] = (self._next, size)
        self._grow(size - before)
        if size:
            self._log.add("take", self._next, size, self._shim.current_stream(self._shim.current_device()))

    def reset_peak(self) -> None:
        """Lets the peak start from what is held now."""
        self.peak_bytes = self.bytes

    def statistics(self) -> dict[str, Any]:
        """What ``torch.cuda.memory_stats`` is made of."""
        found: dict[str, Any] = {
            f"{name}_bytes": {
                "all": {
                    "current": self.bytes, "peak": self.peak_bytes, "allocated": self.taken_bytes,
                    "freed": self.taken_bytes - self.bytes,
                }
            }
            for name in ("allocated", "reserved", "active", "requested", "inactive_split")
        }  # fmt: skip
        return {
            **found, "num_alloc_retries": 0, "num_ooms": 0, "num_device_alloc": 0, "num_device_free": 0,
            "max_split_size": -1,
        }  # fmt: skip

    def _grow(self, size: int) -> None:
        self.bytes += size
        self.taken_bytes += max(size, 0)
        self.peak_bytes = max(self.peak_bytes, self.bytes)

    def _drop(self, key: int) -> None:
        number, size = self._live.pop(key, (0, 0))
        if size:
            self.bytes -= size
            self._log.add("give", number)


def install_resize(held: Held) -> None:
    """Hooks ``UntypedStorage.resize_``, which no dispatcher sees."""
    storage: Any = torch.UntypedStorage
    original = storage.resize_

    def resize_(self: Any, size: int) -> Any:
        held.resize(self._cdata, size)
        return original(self, size)

    storage.resize_ = resize_
