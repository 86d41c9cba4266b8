"""Maps a buffer of another process on this machine, so that a push is one copy into its memory."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

from node.errors import PeerUnreachable


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
        path = f"/proc/{segment.process}/fd/{segment.descriptor}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise PeerUnreachable(f"cannot open the shared memory {path} of a peer: {error.strerror}") from error
        try:
            if os.fstat(descriptor).st_ino != segment.inode:
                raise PeerUnreachable(f"{path} is no longer the shared memory that its node named: the node has gone")
            header = mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ)
            self._map = mmap.mmap(descriptor, max(segment.size_bytes, 1), offset=segment.offset_bytes)
        finally:
            os.close(descriptor)
        self._generation = memoryview(header)[:8].cast("Q")
        self.bytes = memoryview(self._map)[: segment.size_bytes]

    @property
    def current(self) -> bool:
        """Whether nothing has been freed there since the segment was located."""
        return self._generation[0] == self.segment.generation

    def renewed(self, segment: Segment) -> bool:
        """Whether the buffer still lies at the same place; then this attachment is current again."""
        old = self.segment
        if (old.inode, old.offset_bytes, old.size_bytes) != (segment.inode, segment.offset_bytes, segment.size_bytes):
            return False
        self.segment = segment
        return True
