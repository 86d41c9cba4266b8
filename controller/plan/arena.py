"""Addresses for values: one arena for each device, tier, type and micro-batch.

A value takes its place at the op that makes it and gives it back after the last op that uses it, in the order of
emission, first fit. Freed bytes remember the ops that used them: the next op to take them must follow those.
Near linear in values, since only a few gaps are open at a time.
"""

from __future__ import annotations

from bisect import bisect_left

ALIGNMENT = 256
"""Of every value [bytes]: torch's caching allocator rounds small tensors to 512, kernels like their operands so."""
_END = 2**63

Users = tuple[int, ...]
"""Ops that used bytes which are free now."""


class Arena:
    """Addresses of one arena.

    Attributes:
        nbytes: size that all values so far need [bytes].
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._starts: list[int] = [0]
        self._stops: list[int] = [_END]
        self._users: list[Users] = [()]

    def take(self, nbytes: int) -> tuple[int, Users]:
        """Offset for a value of `nbytes`, and the ops that used its bytes before."""
        need = aligned(nbytes)
        starts, stops, users = self._starts, self._stops, self._users
        first = last = 0
        # Neighbours touch when both are free; the last gap has no end, so that the search ends.
        while stops[last] - starts[first] < need:
            last += 1
            if starts[last] != stops[last - 1]:
                first = last
        start = starts[first]
        stop = start + need
        before: Users = users[first] if first == last else tuple(op for some in users[first : last + 1] for op in some)
        if stops[last] == stop:
            del starts[first : last + 1], stops[first : last + 1], users[first : last + 1]
        else:
            starts[last] = stop
            if last > first:
                del starts[first:last], stops[first:last], users[first:last]
        self.nbytes = max(self.nbytes, stop)
        return start, before

    def give(self, start: int, nbytes: int, users: Users) -> None:
        """Frees a value that `users` used."""
        index = bisect_left(self._starts, start)
        self._starts.insert(index, start)
        self._stops.insert(index, start + aligned(nbytes))
        self._users.insert(index, users)


def aligned(nbytes: int) -> int:
    """Bytes that a value of `nbytes` takes [bytes]."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
