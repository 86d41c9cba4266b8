"""Arenas of scripts, kept placed in a run."""

from __future__ import annotations

from collections.abc import Mapping

from controller.plan.lowering import Arenas
from controller.plan.ops import Buffer, Plan
from controller.plan.script import Script
from controller.program.run import Run


class Scratch(Arenas):
    """Arenas that a run has allocated, as far as plans need them."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._placed: dict[Buffer, None] = {}

    def place(self, run: Run) -> None:
        """Allocates what scripts have asked for since the last call, and frees what they have outgrown."""
        wanted = self.buffers
        for buffer in [placed for placed in self._placed if placed not in wanted]:
            run.release(buffer)
            del self._placed[buffer]
        for buffer in wanted:
            if buffer not in self._placed and buffer.nbytes:
                run.place(buffer, written=True)
                self._placed[buffer] = None

    def release(self, run: Run) -> None:
        """Frees everything."""
        for buffer in self._placed:
            run.release(buffer)
        self._placed.clear()


def plans_of(scripts: Mapping[str, Script]) -> dict[str, Plan]:
    """The plans of scripts that share arenas and never run at once, by the same names.

    Beginning with the last, which has the most values in training. Where a later one needs a larger arena, those before
    are made again in it.
    """
    found: dict[str, Plan] = {}
    seen: dict[str, tuple[Buffer, ...]] = {}
    while stale := [name for name, s in scripts.items() if seen.get(name) != s.arenas.buffers]:
        name = stale[-1]
        found[name] = scripts[name].plan()
        seen[name] = scripts[name].arenas.buffers
    return {name: found[name] for name in scripts}
