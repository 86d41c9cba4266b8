"""One flash buffer: a zarr array with two slots a chunk, and an address range that its chunks are loaded into.

A chunk that changes is written to the slot that the last commit does not use, so the committed bytes stay whole until
the next manifest names the other slot. The address range is anonymous memory of the buffer's full size; only the chunks
that are loaded take any.
"""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from node.errors import CorruptTier
from node.memory.disk import disk_room
from node.memory.manifest import ManifestEntry, sync_folder

CHUNK_BYTES = 16 << 20
"""Largest chunk [bytes]; smaller ones cost about a millisecond each whatever they hold."""
NEVER = -1


class FlashArray:
    """The storage of one buffer.

    Attributes:
        folder: of the zarr array.
        size_bytes, chunk_bytes, chunk_count: of the buffer.
        committed: slot of each chunk in the last commit, or NEVER.
        current: slot that holds the latest bytes of each chunk on disk, or NEVER.
        checksums: CRC-32 of `current` of each chunk.
        dirty: chunks whose latest bytes are in memory alone.
    """

    def __init__(self, folder: Path, size_bytes: int, entry: ManifestEntry | None = None) -> None:
        """Creates the array, or opens what `entry` says was committed.

        Raises:
            CorruptTier: the array of `entry` is not there.
        """
        import zarr
        from zarr.storage import LocalStore

        self.folder, self.size_bytes = folder, size_bytes
        self.chunk_bytes = entry.chunk_bytes if entry else max(1, min(CHUNK_BYTES, size_bytes))
        self.chunk_count = -(-size_bytes // self.chunk_bytes)
        self.committed = list(entry.slots) if entry else [NEVER] * self.chunk_count
        self.current = list(self.committed)
        self.checksums = list(entry.checksums) if entry else [0] * self.chunk_count
        self.dirty: set[int] = set()
        self._unsynced: set[int] = set()
        self._verified: set[int] = set()
        # Rows of the array are slots: 2 x chunk and 2 x chunk + 1. Zeros are written like anything else, because the
        # file of a chunk must be there to be synced.
        if entry is None:
            self._array = zarr.create_array(
                LocalStore(folder),
                shape=(max(1, 2 * self.chunk_count), self.chunk_bytes),
                chunks=(1, self.chunk_bytes),
                dtype="uint8",
                compressors=None,
                fill_value=0,
                config={"write_empty_chunks": True},
            )
        else:
            try:
                self._array = zarr.open_array(LocalStore(folder), mode="r+", config={"write_empty_chunks": True})
            except (OSError, ValueError, KeyError) as error:
                raise CorruptTier(
                    f"{folder} should hold buffer {entry.name!r} and cannot be opened: {error}"
                ) from error
        self._map = mmap.mmap(-1, max(1, self.chunk_count * self.chunk_bytes), flags=_PRIVATE)
        self.bytes = memoryview(self._map)

    def load(self, chunk: int) -> None:
        """Brings a chunk to its address; one that was never written is zeros there already.

        Raises:
            CorruptTier: the bytes on disk are not those that were written.
        """
        slot = self.current[chunk]
        if slot == NEVER:
            return
        data = np.ascontiguousarray(self._array[2 * chunk + slot])
        if chunk not in self._verified:
            if crc32(data.data) != self.checksums[chunk]:
                raise CorruptTier(
                    f"{self.folder}: chunk {chunk} has checksum {crc32(data.data):#010x}, committed was "
                    f"{self.checksums[chunk]:#010x}; the file was changed or the disk is failing"
                )
            self._verified.add(chunk)
        start = chunk * self.chunk_bytes
        self.bytes[start : start + self.chunk_bytes] = data.data

    def unload(self, chunk: int) -> int:
        """Writes a chunk if it is dirty and forgets its address range; returns the bytes written [bytes]."""
        written = self.write(chunk) if chunk in self.dirty else 0
        start = chunk * self.chunk_bytes
        if self.chunk_bytes % mmap.PAGESIZE == 0:
            self._map.madvise(mmap.MADV_DONTNEED, start, self.chunk_bytes)
        else:  # the only chunk of a small buffer: its pages are its own
            self._map.madvise(mmap.MADV_DONTNEED)
        return written

    def write(self, chunk: int) -> int:
        """Writes a dirty chunk to the slot that is not committed; returns the bytes written [bytes]."""
        slot = 1 - self.committed[chunk] if self.committed[chunk] != NEVER else 0
        start = chunk * self.chunk_bytes
        data = np.frombuffer(self.bytes[start : start + self.chunk_bytes], np.uint8)
        with disk_room(self.folder, self.chunk_bytes):
            self._array[2 * chunk + slot] = data
        self.current[chunk] = slot
        self.checksums[chunk] = crc32(data.data)
        self._verified.add(chunk)
        self.dirty.discard(chunk)
        self._unsynced.add(chunk)
        return self.chunk_bytes

    def sync(self) -> int:
        """Writes every dirty chunk and waits for the disk; returns the bytes written [bytes]."""
        written = sum(self.write(chunk) for chunk in sorted(self.dirty))
        for chunk in sorted(self._unsynced):
            descriptor = os.open(self.folder / "c" / str(2 * chunk + self.current[chunk]) / "0", os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if self._unsynced:
            for parent in sorted({self.folder / "c" / str(2 * c + self.current[c]) for c in self._unsynced}):
                sync_folder(parent)
            sync_folder(self.folder / "c")
        sync_folder(self.folder)
        self._unsynced.clear()
        return written

    def mark_committed(self, slots: Sequence[int]) -> None:
        """The manifest now names `slots`."""
        self.committed = list(slots)

    def empty(self) -> None:
        """Gives the memory of every chunk back, although a view of it may still exist."""
        self.dirty.clear()
        self._map.madvise(mmap.MADV_DONTNEED)

    def delete(self) -> None:
        """Removes the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
