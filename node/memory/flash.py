"""Flash tiers: zarr arrays on disk that survive the process, behind a bounded cache of chunks.

What a commit acknowledged is there after kill -9: chunks are written beside the committed ones and the manifest is
replaced whole. What was written after the last commit is gone then, and the buffer is as it was committed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from node.errors import BufferExists
from node.hardware.device import TierSpec
from node.memory.disk import disk_room
from node.memory.flash_array import FlashArray
from node.memory.manifest import Entry, read_manifest, sync_folder, write_manifest
from node.memory.tier import Buffer, Tier
from node.wire.checks import checked_size_bytes

CACHE_BYTES = 512 << 20
"""How much of a flash tier may be in memory at once, beyond what one command uses [bytes]."""


class FlashTier(Tier):
    """A tier on disk.

    Attributes:
        folder: where it lies.
        found: buffers of the last commit.
    """

    resident = False

    def __init__(self, device: str, spec: TierSpec, folder: Path, cache_bytes: int = CACHE_BYTES) -> None:
        """Opens or creates the folder; what an earlier process wrote and did not commit is removed.

        Raises:
            CorruptTier: what is there is not what was committed.
            BufferExists: another process uses the folder.
            TierFull: the folder holds more than this spec's capacity.
        """
        super().__init__(device, spec)
        self.folder, self._cache_bytes = folder, cache_bytes
        self._arrays_folder = folder / "arrays"
        self._arrays_folder.mkdir(parents=True, exist_ok=True)
        self._lock_descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_descriptor)
            raise BufferExists(f"{folder} is in use by another node; stop it or use another flash folder") from error
        self._lock = RLock()
        self._arrays: dict[int, FlashArray] = {}
        self._buffers: dict[int, Buffer] = {}
        self._doomed: list[FlashArray] = []
        self._loaded: OrderedDict[tuple[int, int], None] = OrderedDict()  # least recently used first
        self._loaded_bytes = 0
        self._holds: dict[tuple[int, int], int] = {}
        self.found = tuple(self._reopen(entry) for entry in read_manifest(folder))
        kept = {str(serial) for serial in self._arrays}
        for leftover in sorted(self._arrays_folder.iterdir()):
            if leftover.name not in kept:
                shutil.rmtree(leftover)
        self._serial = max(self._arrays, default=0)

    def allocate(self, name: str, dtype: str, shape: tuple[int, ...], size_bytes: int) -> Buffer:
        """See `Tier.allocate`."""
        buffer = super().allocate(name, dtype, shape, size_bytes)
        with self._lock:
            self._buffers[buffer.place] = buffer
        return buffer

    def place(self, size_bytes: int) -> int:
        """See `Tier.place`."""
        with self._lock:
            self._serial += 1
            with disk_room(self.folder, 4096):
                self._arrays[self._serial] = FlashArray(self._arrays_folder / str(self._serial), size_bytes)
            return self._serial

    def displace(self, place: int, size_bytes: int) -> None:
        """See `Tier.displace`."""
        with self._lock:
            array = self._arrays.pop(place)
            self._buffers.pop(place, None)
            for chunk in range(array.chunk_count):
                if (place, chunk) in self._loaded:
                    del self._loaded[place, chunk]
                    self._loaded_bytes -= array.chunk_bytes
            array.empty()
            # The committed state still names its files, so they go with the next commit.
            self._doomed.append(array)

    def view(self, buffer: Buffer, offset_bytes: int, size_bytes: int) -> memoryview:
        """See `Tier.view`."""
        return self._arrays[buffer.place].bytes[offset_bytes : offset_bytes + size_bytes]

    @contextmanager
    def held(self, buffer: Buffer, offset_bytes: int, size_bytes: int, *, writes: bool) -> Iterator[None]:
        """See `Tier.held`."""
        if not size_bytes:
            yield
            return
        serial = buffer.place
        with self._lock:
            array = self._arrays[serial]
            chunks = range(offset_bytes // array.chunk_bytes, (offset_bytes + size_bytes - 1) // array.chunk_bytes + 1)
            for chunk in chunks:
                key = (serial, chunk)
                if key in self._loaded:
                    self._loaded.move_to_end(key)
                else:
                    array.load(chunk)
                    self._loaded[key] = None
                    self._loaded_bytes += array.chunk_bytes
                self._holds[key] = self._holds.get(key, 0) + 1
            if writes:
                array.dirty.update(chunks)
            self._evict()
        try:
            yield
        finally:
            with self._lock:
                for chunk in chunks:
                    left = self._holds[serial, chunk] - 1
                    if left:
                        self._holds[serial, chunk] = left
                    else:
                        del self._holds[serial, chunk]
                if writes:  # a commit in the meantime may have written the chunk half changed
                    array.dirty.update(chunks)

    def commit(self) -> int:
        """See `Tier.commit`."""
        with self._lock:
            written = sum(array.sync() for array in self._arrays.values())
            sync_folder(self._arrays_folder)
            write_manifest(self.folder, [self._entry(buffer) for buffer in self._buffers.values()])
            for array in self._arrays.values():
                array.mark_committed()
            for array in self._doomed:
                array.delete()
            self._doomed.clear()
            return written

    def close(self) -> None:
        """See `Tier.close`."""
        os.close(self._lock_descriptor)

    def _entry(self, buffer: Buffer) -> Entry:
        array = self._arrays[buffer.place]
        return Entry(
            buffer.name,
            buffer.dtype,
            buffer.shape,
            buffer.place,
            array.chunk_bytes,
            tuple(array.current),
            tuple(array.checksums),
        )

    def _reopen(self, entry: Entry) -> Buffer:
        size_bytes = checked_size_bytes(entry.dtype, entry.shape)
        self.take(size_bytes)
        self._arrays[entry.serial] = FlashArray(self._arrays_folder / str(entry.serial), size_bytes, entry)
        buffer = Buffer(entry.name, self, entry.dtype, entry.shape, size_bytes, entry.serial)
        self._buffers[entry.serial] = buffer
        return buffer

    def _evict(self) -> None:
        """Unloads chunks that nobody holds, the least recently used first, until the cache is within its bound."""
        if self._loaded_bytes <= self._cache_bytes:
            return
        for key in list(self._loaded):
            if key not in self._holds:
                serial, chunk = key
                self._arrays[serial].unload(chunk)
                del self._loaded[key]
                self._loaded_bytes -= self._arrays[serial].chunk_bytes
                if self._loaded_bytes <= self._cache_bytes:
                    return
