"""Copies of one direction that follow one another, tensor after tensor, as on a stream of a GPU."""

from __future__ import annotations

from collections.abc import Iterable

from controller.plan.script import Script, Source


class CopyStream:
    """The copies of one script."""

    def __init__(self, s: Script) -> None:
        self._s = s
        self._last: tuple[int, ...] = ()

    def copy(self, moves: Iterable[tuple[Source, Source]], label: str) -> None:
        """One tensor in pieces, from a source to a target each; they go together, after the tensor before."""
        first, after = self._s.count, self._last
        for source, target in moves:
            self._s.move(source, target, label, after=after)
        self._last = tuple(range(first, self._s.count)) or after
