"""Memory of a rank as PyTorch's caching allocator hands it out: allocated, reserved, and what did not fit.

Model: blocks of at least 512 bytes. Requests of up to 1 MiB come from segments of 2 MiB, up to 10 MiB from segments of
20 MiB, larger ones from segments of their own in steps of 2 MiB. The smallest free block of the request's stream and
pool that fits is taken, and split where enough is left; neighbours that are free grow together. When the device has no
room for a segment, segments that are wholly free are given back first.
Source: PyTorch, c10/cuda/CUDACachingAllocator.cpp (kSmallSize, kSmallBuffer, kMinLargeAlloc, kLargeBuffer).
Not modelled: blocks that another stream still uses when they are freed (`record_stream`) come back at once; memory of
libraries, beside `CONTEXT_BYTES`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Final

from controller.capture.trace import RankTrace

SMALL_BYTES, SMALL_SEGMENT_BYTES = 1 << 20, 2 << 20
LARGE_FROM_BYTES, LARGE_SEGMENT_BYTES, LARGE_STEP_BYTES = 10 << 20, 20 << 20, 2 << 20
GRAIN_BYTES = 512
CONTEXT_BYTES: Final = 1_500_000_000
"""Assumed: CUDA context, cuBLAS workspaces and NCCL buffers of a rank, outside of the allocator."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a rank's memory came to.

    Attributes:
        allocated_bytes: most that tensors held at once [bytes].
        reserved_bytes: most that the allocator held [bytes].
        capacity_bytes: of the device [bytes].
        failed: what did not fit; "" for nothing.
    """

    allocated_bytes: int
    reserved_bytes: int
    capacity_bytes: int
    failed: str = ""


@dataclass(slots=True, eq=False)
class _Block:
    size: int
    stream: int
    is_small: bool
    before: _Block | None = None
    behind: _Block | None = None
    is_free: bool = False


@dataclass
class Allocator:
    """Blocks of one device."""

    capacity_bytes: int
    allocated: int = 0
    reserved: int = 0
    peak_allocated: int = 0
    peak_reserved: int = 0
    _free: dict[tuple[int, bool], list[tuple[int, int, _Block]]] = field(default_factory=dict)
    _serial: int = 0
    _serials: dict[int, int] = field(default_factory=dict)

    def take(self, nbytes: int, stream: int) -> _Block | None:
        """A block for `nbytes`; None where the device is full."""
        size = max(GRAIN_BYTES, -(-nbytes // GRAIN_BYTES) * GRAIN_BYTES)
        is_small = size <= SMALL_BYTES
        pool = self._free.setdefault((stream, is_small), [])
        place = bisect_left(pool, (size, -1))
        if place < len(pool):
            block = pool.pop(place)[2]
        else:
            found = self._segment(size, stream, is_small)
            if found is None:
                return None
            block = found
        block.is_free = False
        left = block.size - size
        if left >= GRAIN_BYTES if is_small else left > SMALL_BYTES:
            rest = _Block(left, stream, is_small, block, block.behind)
            if block.behind is not None:
                block.behind.before = rest
            block.behind, block.size = rest, size
            self._put(rest)
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def give(self, block: _Block) -> None:
        """Takes a block back."""
        self.allocated -= block.size
        for other in (block.before, block.behind):
            if other is not None and other.is_free:
                self._remove(other)
                first, second = (other, block) if other is block.before else (block, other)
                first.size += second.size
                first.behind = second.behind
                if second.behind is not None:
                    second.behind.before = first
                block = first
        self._put(block)

    def _segment(self, size: int, stream: int, is_small: bool) -> _Block | None:
        if is_small:
            whole = SMALL_SEGMENT_BYTES
        elif size < LARGE_FROM_BYTES:
            whole = LARGE_SEGMENT_BYTES
        else:
            whole = -(-size // LARGE_STEP_BYTES) * LARGE_STEP_BYTES
        room = self.capacity_bytes - CONTEXT_BYTES
        if self.reserved + whole > room:
            self._give_back()
            if self.reserved + whole > room:
                return None
        self.reserved += whole
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return _Block(whole, stream, is_small)

    def _give_back(self) -> None:
        for pool in self._free.values():
            for entry in [entry for entry in pool if entry[2].before is None and entry[2].behind is None]:
                pool.remove(entry)
                self.reserved -= entry[2].size

    def _put(self, block: _Block) -> None:
        block.is_free = True
        self._serial += 1
        self._serials[id(block)] = self._serial
        insort(self._free.setdefault((block.stream, block.is_small), []), (block.size, self._serial, block))

    def _remove(self, block: _Block) -> None:
        pool = self._free[block.stream, block.is_small]
        del pool[bisect_left(pool, (block.size, self._serials[id(block)]))]


def memory_of(trace: RankTrace, capacity_bytes: int) -> MemoryUse:
    """Replays what a rank took and gave."""
    allocator, held = Allocator(capacity_bytes), dict[int, _Block]()
    line = ""
    for event in trace.events:
        if event[0] == "take":
            block = allocator.take(event[2], event[3])
            if block is None:
                return MemoryUse(
                    allocator.peak_allocated,
                    allocator.peak_reserved,
                    capacity_bytes,
                    _failed(allocator, event[2], line),
                )
            held[event[1]] = block
        elif event[0] == "give":
            found = held.pop(event[1], None)
            if found is not None:
                allocator.give(found)
        elif event[0] == "kernel":
            line = trace.signatures[event[1]].name
    return MemoryUse(allocator.peak_allocated, allocator.peak_reserved, capacity_bytes)


def _failed(allocator: Allocator, nbytes: int, before: str) -> str:
    return (
        f"out of memory: a tensor of {nbytes:,} B after {before} does not fit; {allocator.allocated:,} B are allocated "
        f"and {allocator.reserved:,} B reserved of {allocator.capacity_bytes:,} B"
    )
