"""Repeating a plan whose course is known, without executing it again.

    done = yield run.submit(step, rows=8, context=4096)
    yield run.repeat(done, 99)                  # 99 more steps of the same sizes, one after the other

On an idle clock the same plan with the same sizes takes the same time, so a program that would submit it a hundred
times submits it once and lets the time of the others pass; what every resource and queue did is counted as often. A
trace shows the first of them. Not for plans that touch flash, whose wear would be counted once, and not across a
declared change of a link.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from controller.execute.program import Completion, Delay


@runtime_checkable
class Repeats(Protocol):
    """A run that can repeat plans: the virtual one. On node processes a step is real every time."""

    def repeat(self, done: Completion, times: int) -> Delay:
        """What to yield to let a plan that has just ended, with nothing beside it, run `times` more.

        Raises:
            ValueError: something else ended since, or still runs.
        """
