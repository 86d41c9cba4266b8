"""Maps a buffer of another process on this machine, so that a push is one copy into its memory."""

from __future__ import annotations

import mmap
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import numpy as np

from node.errors import PeerUnreachable
from node.memory.byte_locks import lock_shared, unlock


@dataclass(frozen=True, slots=True)
class Segment:
    """Where another process keeps a buffer.

    Attributes:
        process, descriptor: open ``/proc/PROCESS/fd/DESCRIPTOR``.
        inode: of the memfd; another one means that the process has gone and its number was given away.
        offset_bytes, size_bytes: of the buffer; the offset is a multiple of the page size.
        generation: of the segment when this was true.
    """

    process: int
    descriptor: int
    inode: int
    offset_bytes: int
    size_bytes: int
    generation: int


class _SharedFile:
    """The shared memory of a peer, opened once; a pinned buffer has its first byte locked."""

    def __init__(self, segment: Segment) -> None:
        path = f"/proc/{segment.process}/fd/{segment.descriptor}"
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise PeerUnreachable(f"cannot open the shared memory {path} of a peer: {error.strerror}") from error
        if os.fstat(self.descriptor).st_ino != segment.inode:
            os.close(self.descriptor)
            raise PeerUnreachable(f"{path} is no longer the shared memory that its node named: the node has gone")
        self._pins: Counter[int] = Counter()
        self._lock = Lock()

    def pin(self, place: int) -> None:
        with self._lock:
            if not self._pins[place]:
                lock_shared(self.descriptor, place)
            self._pins[place] += 1

    def unpin(self, place: int) -> None:
        with self._lock:
            self._pins[place] -= 1
            if not self._pins[place]:
                del self._pins[place]
                unlock(self.descriptor, place)


_files: dict[tuple[int, int, int], _SharedFile] = {}
_opening = Lock()


def _shared_file(segment: Segment) -> _SharedFile:
    key = (segment.process, segment.descriptor, segment.inode)
    with _opening:
        if key not in _files:
            _files[key] = _SharedFile(segment)
        return _files[key]


def write_once(segment: Segment, offset_bytes: int, data: memoryview) -> bool:
    """Copies `data` into a buffer of another process and keeps nothing of it open.

    Args:
        segment: where the buffer is.
        offset_bytes: where in it `data` begins; it must end within the buffer [bytes].
        data: bytes.

    Returns:
        Whether it was written; False where the process or its segment is gone, or has freed something since.
    """
    try:
        file = _SharedFile(segment)
    except PeerUnreachable:
        return False
    try:
        file.pin(segment.offset_bytes)
        with mmap.mmap(file.descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ) as header:
            current = int.from_bytes(header[:8], sys.byteorder) == segment.generation
        if current:
            with mmap.mmap(file.descriptor, segment.size_bytes, offset=segment.offset_bytes) as mapped:
                target = np.frombuffer(mapped, np.uint8, len(data), offset_bytes)
                np.copyto(target, np.frombuffer(data, np.uint8))
                del target
        return current
    finally:
        os.close(file.descriptor)  # which gives the pin back


class Attachment:
    """A mapped buffer of a peer.

    Attributes:
        bytes: its content, shared with the peer.
    """

    def __init__(self, segment: Segment) -> None:
        """Maps it.

        Raises:
            PeerUnreachable: the process or its segment is gone.
        """
        self.segment = segment
        self._file = _shared_file(segment)
        descriptor = self._file.descriptor
        header = mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ)
        self._map = mmap.mmap(descriptor, max(segment.size_bytes, 1), offset=segment.offset_bytes)
        self._generation = memoryview(header)[:8].cast("Q")
        self.bytes = memoryview(self._map)[: segment.size_bytes]

    @property
    def current(self) -> bool:
        """Whether nothing has been freed there since the segment was located."""
        return self._generation[0] == self.segment.generation

    @contextmanager
    def pinned(self) -> Iterator[bool]:
        """Keeps the peer from freeing the buffer in the body; yields `current`: False means that nothing is kept."""
        place = self.segment.offset_bytes
        self._file.pin(place)
        try:
            yield self.current
        finally:
            self._file.unpin(place)

    def renewed(self, segment: Segment) -> bool:
        """Whether the buffer still lies at the same place; then this attachment is current again."""
        old = self.segment
        if (old.inode, old.offset_bytes, old.size_bytes) != (segment.inode, segment.offset_bytes, segment.size_bytes):
            return False
        self.segment = segment
        return True
