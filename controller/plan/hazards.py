"""Which op must wait for which, from what they read and write.

Per buffer the ledger keeps disjoint byte ranges, each with its last writer and the readers since. A reader waits for
the writer of every range that it touches; a writer waits for writer and readers. Ranges are split where an access ends
inside one, so that two mini-batches in one buffer stay independent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from controller.plan.ops import Buffer, View
from controller.plan.size import Affine
from node.hardware.operation import ITEM_BYTES

NEVER_WRITTEN = -1


class _Range:
    __slots__ = ("readers", "start", "stop", "writer")

    def __init__(self, start: int, stop: int, writer: int, readers: list[int]) -> None:
        self.start, self.stop, self.writer, self.readers = start, stop, writer, readers

    def cut(self, at: int) -> _Range:
        """Takes off what lies before `at` and returns it."""
        before = _Range(self.start, at, self.writer, list(self.readers))
        self.start = at
        return before


def byte_range(view: View) -> tuple[int, int]:
    """First and last-plus-one byte of a view [bytes]; an open offset or extent counts as the whole buffer."""
    buffer, start = view.buffer, view.offset_bytes
    if isinstance(start, Affine):
        return 0, buffer.nbytes
    size = ITEM_BYTES[buffer.dtype]
    for extent in view.shape:
        if isinstance(extent, Affine):
            return start, buffer.nbytes
        size *= extent
    return start, start + size


class Hazards:
    """The accesses of one plan so far."""

    def __init__(self) -> None:
        self._ranges: dict[Buffer, list[_Range]] = {}

    def read(self, op: int, view: View, waits: set[int]) -> bool:
        """Records that op number `op` reads `view`, and adds to `waits` the ops that it must follow.

        Returns:
            Whether all of `view` was written before.
        """
        written = True
        for piece in self._touched(view):
            if piece.writer != NEVER_WRITTEN:
                waits.add(piece.writer)
            else:
                written = False
            piece.readers.append(op)
        return written

    def write(self, op: int, view: View, waits: set[int]) -> None:
        """Records that op number `op` writes `view` and adds to `waits` the ops it must follow."""
        for piece in self._touched(view):
            if piece.writer != NEVER_WRITTEN:
                waits.add(piece.writer)
            waits.update(piece.readers)
            piece.writer, piece.readers = op, []

    def forget(self, op: int, buffer: Buffer, waits: set[int]) -> None:
        """Records that op number `op` ends the life of `buffer`: it follows every access so far."""
        for piece in self._ranges.pop(buffer, []):
            if piece.writer != NEVER_WRITTEN:
                waits.add(piece.writer)
            waits.update(piece.readers)
        # The next allocation of the same buffer comes after it is gone.
        self._ranges[buffer] = [_Range(0, buffer.nbytes, op, [])]

    def _touched(self, view: View) -> list[_Range]:
        """The ranges that `view` covers exactly; what it cuts is split before."""
        buffer = view.buffer
        ranges = self._ranges.get(buffer)
        if ranges is None:
            ranges = self._ranges[buffer] = [_Range(0, buffer.nbytes, NEVER_WRITTEN, [])]
        start, stop = byte_range(view)
        if start <= ranges[0].start and stop >= ranges[-1].stop:
            return ranges
        # The ranges are in order and leave no gap, so those that the view touches lie together.
        first = bisect_right(ranges, start, key=_stop)
        behind = bisect_left(ranges, stop, lo=first, key=_start)
        if first == behind:
            return []
        if ranges[first].start < start:
            ranges.insert(first, ranges[first].cut(start))
            first, behind = first + 1, behind + 1
        if ranges[behind - 1].stop > stop:
            ranges.insert(behind - 1, ranges[behind - 1].cut(stop))
        return ranges[first:behind]


def _start(piece: _Range) -> int:
    return piece.start


def _stop(piece: _Range) -> int:
    return piece.stop
