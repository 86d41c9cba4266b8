"""Flash tiers: zarr arrays on disk that survive the process, behind a bounded cache of chunks.

What a commit acknowledged is there after kill -9: chunks are written beside the committed ones and the manifest is
replaced whole. What was written after the last commit is gone then, and the buffer is as it was committed.

A commit has two phases, so that several drives commit together (`controller.launch.settling`). Between them a chunk has
both of its slots in use, one by the committed state and one by the prepared one, so chunks that change meanwhile stay
in memory. A node that was replaced writes nothing more (`fence.py`).
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from node.errors import NotPrepared
from node.hardware.device import TierSpec
from node.memory.disk import disk_room
from node.memory.fence import Fence
from node.memory.flash_array import FlashArray
from node.memory.manifest import (
    PREPARED,
    Manifest,
    ManifestEntry,
    commit_manifest,
    drop_prepared,
    prepare_manifest,
    read_manifest,
    sync_folder,
)
from node.memory.tier import StoredBuffer, Tier
from node.wire.checks import checked_size_bytes

CACHE_BYTES = 512 << 20
"""How much of a flash tier may be in memory at once, beyond what one command uses [bytes]."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A state that is ready to be committed: arrays with the slots of their chunks, and arrays that it has no more."""

    manifest: Manifest
    slots: tuple[tuple[FlashArray, tuple[int, ...]], ...]
    doomed: tuple[FlashArray, ...]


class FlashTier(Tier):
    """A tier on disk.

    Attributes:
        folder: where it lies.
        found: buffers of the committed state that was opened.
        committed: transaction of the last commit, "" before the first.
    """

    resident = False

    def __init__(
        self, device: str, spec: TierSpec, folder: Path, cache_bytes: int = CACHE_BYTES, *, take_over: bool = False
    ) -> None:
        """Opens or creates the folder, as it was committed last; what was prepared beyond that waits for a decision.

        Raises:
            CorruptTier: what is there is not what was committed.
            BufferExists: another process uses the folder, and this one is not to take it over.
            TierFull: the folder holds more than this spec's capacity.
        """
        super().__init__(device, spec)
        self.folder, self._cache_bytes = folder, cache_bytes
        self._arrays_folder = folder / "arrays"
        self._arrays_folder.mkdir(parents=True, exist_ok=True)
        self._fence = Fence(folder, take_over=take_over)
        self._lock = RLock()
        self._serial = 0
        self._waiting = read_manifest(folder, PREPARED)
        self._open(read_manifest(folder) or Manifest())

    def _open(self, manifest: Manifest) -> None:
        """Makes `manifest` the state of this tier; what neither it nor the prepared state names is removed."""
        self.give(self.used_bytes)
        self._arrays: dict[int, FlashArray] = {}
        self._buffers: dict[int, StoredBuffer] = {}
        self._doomed: list[FlashArray] = []
        self._loaded: OrderedDict[tuple[int, int], None] = OrderedDict()  # least recently used first
        self._loaded_bytes = 0
        self._holds: dict[tuple[int, int], int] = {}
        self._prepared: _Prepared | None = None
        self.committed = manifest.transaction
        self.found = tuple(self._reopen(entry) for entry in manifest.buffers)
        kept = {entry.serial for entry in (self._waiting.buffers if self._waiting else ())} | self._arrays.keys()
        for leftover in sorted(self._arrays_folder.iterdir()):
            if leftover.name not in map(str, kept):
                shutil.rmtree(leftover)
        self._serial = max(kept, default=self._serial)

    def allocate(self, name: str, dtype: str, shape: tuple[int, ...], size_bytes: int) -> StoredBuffer:
        buffer = super().allocate(name, dtype, shape, size_bytes)
        with self._lock:
            self._buffers[buffer.place] = buffer
        return buffer

    def place(self, size_bytes: int) -> int:
        self._fence.check()
        with self._lock:
            self._serial += 1
            with disk_room(self.folder, 4096):
                self._arrays[self._serial] = FlashArray(self._arrays_folder / str(self._serial), size_bytes)
            return self._serial

    def displace(self, place: int, size_bytes: int) -> None:
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

    def view(self, buffer: StoredBuffer, offset_bytes: int, size_bytes: int) -> memoryview:
        return self._arrays[buffer.place].bytes[offset_bytes : offset_bytes + size_bytes]

    @contextmanager
    def held(self, buffer: StoredBuffer, offset_bytes: int, size_bytes: int, *, writes: bool) -> Iterator[None]:
        if not size_bytes:
            yield
            return
        if writes:
            self._fence.check()
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

    @property
    def prepared(self) -> Manifest | None:
        """The state that waits to be committed, without which nothing is lost that was acknowledged."""
        return self._waiting if self._prepared is None else self._prepared.manifest

    def prepare(self, transaction: str, participants: tuple[str, ...]) -> int:
        """Makes everything written so far durable beside the committed state; returns the bytes written [bytes].

        Raises:
            NotPrepared: another transaction waits, which some device may have committed: only who knows may drop it.
        """
        self._fence.check()
        with self._lock:
            if self.prepared is not None:
                raise NotPrepared(
                    f"{self.device}.{self.spec.name} waits for transaction {self.prepared.transaction!r} to be "
                    f"committed or abandoned; connect anew, which settles it"
                )
            written = sum(array.sync() for array in self._arrays.values())
            sync_folder(self._arrays_folder)
            buffers = tuple(self._entry(buffer) for buffer in self._buffers.values())
            manifest = Manifest(transaction, participants, buffers)
            prepare_manifest(self.folder, manifest)
            slots = tuple((array, tuple(array.current)) for array in self._arrays.values())
            self._prepared = _Prepared(manifest, slots, tuple(self._doomed))
            self._doomed.clear()
            return written

    def commit(self, transaction: str) -> bool:
        """Makes what was prepared the committed state; doing so again changes nothing.

        Returns:
            Whether buffers were opened anew, because another process had prepared them.

        Raises:
            NotPrepared: this transaction was not.
        """
        self._fence.check()
        with self._lock:
            if self.committed == transaction:
                return False
            ready = self.prepared
            if ready is None or ready.transaction != transaction:
                raise NotPrepared(
                    f"{self.device}.{self.spec.name} has not prepared transaction {transaction!r}; prepare it first"
                )
            commit_manifest(self.folder)
            if self._prepared is None:
                self._waiting = None
                self._open(ready)
                return True
            for array, slots in self._prepared.slots:
                array.mark_committed(slots)
            for array in self._prepared.doomed:
                array.delete()
            self._prepared, self.committed = None, transaction
            self._evict()
            return False

    def abandon(self) -> None:
        """Forgets what was prepared; what was written stays to be prepared again, as long as this process lives."""
        self._fence.check()
        with self._lock:
            if self.prepared is None:
                return
            drop_prepared(self.folder)
            if self._prepared is not None:
                self._doomed[:0] = self._prepared.doomed
                self._prepared = None
            else:
                unknown = {str(entry.serial) for entry in self._waiting.buffers} if self._waiting else set()
                self._waiting = None
                for name in unknown - set(map(str, self._arrays)):
                    shutil.rmtree(self._arrays_folder / name, ignore_errors=True)

    def close(self) -> None:
        self._fence.close()

    def _entry(self, buffer: StoredBuffer) -> ManifestEntry:
        array = self._arrays[buffer.place]
        return ManifestEntry(
            buffer.name,
            buffer.dtype,
            buffer.shape,
            buffer.place,
            array.chunk_bytes,
            tuple(array.current),
            tuple(array.checksums),
        )

    def _reopen(self, entry: ManifestEntry) -> StoredBuffer:
        size_bytes = checked_size_bytes(entry.dtype, entry.shape)
        self.take(size_bytes)
        self._arrays[entry.serial] = FlashArray(self._arrays_folder / str(entry.serial), size_bytes, entry)
        buffer = StoredBuffer(entry.name, self, entry.dtype, entry.shape, size_bytes, entry.serial)
        self._buffers[entry.serial] = buffer
        return buffer

    def _evict(self) -> None:
        """Unloads chunks that nobody holds, the least recently used first, until the cache is within its bound."""
        if self._loaded_bytes <= self._cache_bytes:
            return
        self._fence.check()
        for key in list(self._loaded):
            serial, chunk = key
            is_bound = self._prepared is not None and chunk in self._arrays[serial].dirty  # no slot to write it to
            if key not in self._holds and not is_bound:
                self._arrays[serial].unload(chunk)
                del self._loaded[key]
                self._loaded_bytes -= self._arrays[serial].chunk_bytes
                if self._loaded_bytes <= self._cache_bytes:
                    return
