"""Ranges of a pool, taken and given back, so that a long run with short batches lives in little memory."""

from __future__ import annotations


class Ranges:
    """Hands out ranges of a pool that is as long as it has to be; neighbours that were given back are joined.

    Exact fits come first, in the order in which they were given back: a program that submits one template again and
    again gets the same range again and again, still warm in the cache.
    """

    def __init__(self) -> None:
        self._end = 0
        self._free_by_start: dict[int, int] = {}  # start -> end
        self._free_by_end: dict[int, int] = {}  # end -> start
        self._by_size: dict[int, dict[int, None]] = {}  # size -> starts, a dict as an ordered set

    @property
    def end(self) -> int:
        """Length that the pool must have."""
        return self._end

    def take(self, size: int) -> int:
        """Start of a free range of that size."""
        if size == 0:
            return 0
        fit = size if size in self._by_size else min((s for s in self._by_size if s > size), default=0)
        if fit == 0:
            start = self._end
            self._end += size
            return start
        start = next(reversed(self._by_size[fit]))
        self._remove(start, start + fit)
        if fit > size:
            self._insert(start + size, start + fit)
        return start

    def give(self, start: int, size: int) -> None:
        """Take back what `take` handed out."""
        if size == 0:
            return
        end = start + size
        if start in self._free_by_end:
            start = self._free_by_end[start]
            self._remove(start, end - size)
        if end in self._free_by_start:
            stop = self._free_by_start[end]
            self._remove(end, stop)
            end = stop
        if end == self._end:
            self._end = start
        else:
            self._insert(start, end)

    def _insert(self, start: int, end: int) -> None:
        self._free_by_start[start] = end
        self._free_by_end[end] = start
        self._by_size.setdefault(end - start, {})[start] = None

    def _remove(self, start: int, end: int) -> None:
        del self._free_by_start[start]
        del self._free_by_end[end]
        starts = self._by_size[end - start]
        del starts[start]
        if not starts:
            del self._by_size[end - start]
