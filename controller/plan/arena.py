"""Where values lie: one arena for each device, tier, type and micro-batch.

A value takes its place at the op that makes it and gives it back after the last op that uses it. Places are handed out
in the order of emission, first fit, from gaps that are kept in order and merged: near linear in values, since only a
few gaps are open at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

ALIGNMENT = 256
"""Of every value [bytes]: torch's caching allocator rounds small tensors to 512, kernels like their operands so."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From the op that makes a value to the last op that uses it, both included.

    Attributes:
        nbytes: size of the value [bytes].
        first, last: indices of the two ops.
    """

    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Room:
    """Offsets of values, in the order in which they were given, and the size of their arena [bytes]."""

    offsets: tuple[int, ...]
    nbytes: int


class _Gaps:
    """Free ranges in order, none touching the next; the last has no end."""

    def __init__(self) -> None:
        self._starts, self._stops = [0], [2**63]

    def take(self, nbytes: int) -> int:
        """Start of the first gap that is large enough, shortened by `nbytes`."""
        for index, start in enumerate(self._starts):
            if self._stops[index] - start >= nbytes:
                if self._stops[index] - start == nbytes:
                    del self._starts[index], self._stops[index]
                else:
                    self._starts[index] = start + nbytes
                return start
        raise AssertionError("the last gap has no end")

    def give(self, start: int, nbytes: int) -> None:
        """Makes a range free again and joins it to its neighbours."""
        stop = start + nbytes
        index = bisect_left(self._starts, start)
        if index and self._stops[index - 1] == start:
            index -= 1
            start = self._starts[index]
            del self._starts[index], self._stops[index]
        if self._starts[index] == stop:
            self._starts[index] = start
        else:
            self._starts.insert(index, start)
            self._stops.insert(index, stop)


def assign(lifetimes: Sequence[Lifetime]) -> Room:
    """Places for values so that no two that live at one op share a byte.

    Args:
        lifetimes: in the order in which the values are made (`first` never falls).
    """
    gaps, offsets, nbytes = _Gaps(), [], 0
    ending: list[tuple[int, int, int]] = []
    for value in lifetimes:
        while ending and ending[0][0] < value.first:
            _, start, taken = heappop(ending)
            gaps.give(start, taken)
        size = -(-value.nbytes // ALIGNMENT) * ALIGNMENT
        offset = gaps.take(size) if size else 0
        offsets.append(offset)
        if size:
            heappush(ending, (value.last, offset, size))
        nbytes = max(nbytes, offset + size)
    return Room(tuple(offsets), nbytes)
