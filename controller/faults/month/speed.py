"""How fast a job is over a month: the slowest of what is slow at once, as an exact integral in ticks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from heapq import heappop, heappush

FULL = 1024
"""Speeds are counted in parts of the declared one."""
Episode = tuple[int, int, int]
"""Start and end [ticks], and the speed in between in 1/FULL of the declared one."""


class Speed:
    """A speed that is `FULL` but for episodes; where several overlap the slowest counts."""

    def __init__(self, episodes: Iterable[Episode]) -> None:
        found = sorted(each for each in episodes if each[0] < each[1] and each[2] < FULL)
        self._at, self._speed, self._done = [0], [FULL], [0]
        edges = sorted({at for start, end, _ in found for at in (start, end)})
        running: list[tuple[int, int]] = []
        number = 0
        for at in edges:
            while number < len(found) and found[number][0] <= at:
                heappush(running, (found[number][2], found[number][1]))
                number += 1
            while running and running[0][1] <= at:
                heappop(running)
            self._done.append(self._done[-1] + (at - self._at[-1]) * self._speed[-1])
            self._at.append(at)
            self._speed.append(running[0][0] if running else FULL)

    def is_full(self, start: int, end: int) -> bool:
        """Whether nothing is slow between two instants."""
        first, last = bisect_right(self._at, start) - 1, bisect_right(self._at, max(start, end - 1)) - 1
        return first == last and self._speed[first] == FULL

    def useful(self, start: int, end: int) -> int:
        """What is done between two instants, in ticks of full speed."""
        return self._until(end) - self._until(start)

    def _until(self, at: int) -> int:
        index = bisect_right(self._at, at) - 1
        return (self._done[index] + (at - self._at[index]) * self._speed[index]) // FULL
