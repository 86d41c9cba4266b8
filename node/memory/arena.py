"""DRAM-like tiers: one sparse memfd for each, mapped whole, that peers on the same host map too.

The segment is far larger than the tier's capacity and addresses are not used again until it is used up, so that holes
never matter; what is freed is punched out and costs no memory. Its first page holds a generation that counts frees: a
peer that remembers where a buffer was sees there that it must ask again.

A peer that reads or writes a buffer in place holds a shared lock on its first byte, which the kernel lets go when the
peer dies; a free takes the lock alone and is refused when it cannot.
"""

from __future__ import annotations

import mmap
import os
from bisect import insort
from threading import Lock

from node.errors import BufferInUse
from node.hardware.device import TierSpec
from node.memory.byte_locks import lock_alone, unlock
from node.memory.tier import StoredBuffer, Tier

_SLACK_BYTES = 1 << 40
_ADDRESS_BYTES = 1 << 45
"""A quarter of the addresses of a process; what several devices share leaves each more than a machine has memory."""
_PAGE = mmap.PAGESIZE


class SharedArena(Tier):
    """A tier in shared memory.

    Attributes:
        descriptor: of the memfd.
        inode: its identity, by which a peer knows that it opened the right one.
    """

    mappable = True

    def __init__(self, device: str, spec: TierSpec, sharing: int = 1) -> None:
        """A tier of a process that carries `sharing` devices, which share its addresses."""
        super().__init__(device, spec)
        length = 2 * spec.capacity_bytes + _SLACK_BYTES
        self._length = _pages(length if sharing == 1 else min(length, _ADDRESS_BYTES // sharing))
        self.descriptor = os.memfd_create(f"{device}.{spec.name}", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, self._length)
        self.inode = os.fstat(self.descriptor).st_ino
        self._map = mmap.mmap(self.descriptor, self._length)
        self._bytes = memoryview(self._map)
        self._generation = self._bytes[:8].cast("Q")
        self._next = _PAGE
        self._holes: list[tuple[int, int]] = []  # (start, length), sorted, used only when the fresh addresses are
        self._places = Lock()

    @property
    def generation(self) -> int:
        """Changes whenever a buffer is freed."""
        return self._generation[0]

    def place(self, size_bytes: int) -> int:
        need = _pages(max(size_bytes, 1))
        with self._places:
            if self._next + need <= self._length:
                start = self._next
                self._next += need
                return start
            for index, (start, length) in enumerate(self._holes):
                if length >= need:
                    self._holes[index : index + 1] = [(start + need, length - need)] if length > need else []
                    return start
        raise MemoryError(f"{self.device}.{self.spec.name}: addresses used up by rounding to pages of {_PAGE} bytes")

    def free(self, buffer: StoredBuffer) -> None:
        if not lock_alone(self.descriptor, buffer.place):
            raise BufferInUse(
                f"{self.device}.{buffer.name} is in use by a push or a kernel of a peer that maps it; free it "
                "after that has ended"
            )
        try:
            super().free(buffer)
        finally:
            unlock(self.descriptor, buffer.place)

    def displace(self, place: int, size_bytes: int) -> None:
        length = _pages(max(size_bytes, 1))
        with self._places:
            self._generation[0] += 1
            self._map.madvise(mmap.MADV_REMOVE, place, length)
            insort(self._holes, (place, length))
            self._holes = _joined(self._holes)
            if self._holes and sum(self._holes[-1]) == self._next and self._next > self._length // 2:
                self._next = self._holes.pop()[0]

    def view(self, buffer: StoredBuffer, offset_bytes: int, size_bytes: int) -> memoryview:
        start = buffer.place + offset_bytes
        return self._bytes[start : start + size_bytes]

    def close(self) -> None:
        os.close(self.descriptor)


def _pages(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE) * _PAGE


def _joined(holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring holes as one."""
    joined: list[tuple[int, int]] = []
    for start, length in holes:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((start, length))
    return joined
