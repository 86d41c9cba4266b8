"""What the engine refuses, drawn as a tree. The engine stands alone: whoever calls it turns these into words for users.

::

    EngineError
    ├── BadActivities       invalid arrays: shape, sign, index out of range, work that nothing can limit
    ├── BadResource         no such resource, or a capacity that is no finite number >= 0
    ├── BadQueue            fewer than one slot
    ├── UnknownTicket       never handed out, or released already
    ├── UnfinishedBatch     released while some of its activities have not ended
    ├── TimeReversed        asked to run until an instant that has passed
    ├── Deadlock            unfinished activities and no event to come: who waits for what
    └── EventBudgetSpent    more events than the caller allowed: a program that makes no progress
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of everything that the engine raises on purpose."""


class BadActivities(EngineError):
    """Invalid arrays of a batch; names the array, the activity and the value."""


class BadResource(EngineError):
    """No such resource, or a capacity that is no finite number >= 0."""


class BadQueue(EngineError):
    """A queue with fewer than one slot."""


class UnknownTicket(EngineError):
    """A ticket that was never handed out or has been released."""


class UnfinishedBatch(EngineError):
    """A batch that was released before its last activity had ended."""


class TimeReversed(EngineError):
    """An instant that has passed already."""


class EventBudgetSpent(EngineError):
    """More events than the caller allowed."""


class EngineDeadlock(EngineError):
    """Unfinished activities and no event to come.

    Attributes:
        stalled: (ticket, activity) that flow at rate zero, because a resource they load has capacity zero.
        waiting: (ticket, activity) of every other unfinished activity.
        resources: ids of the resources of capacity zero that stall somebody.
    """

    def __init__(
        self,
        message: str,
        *,
        stalled: tuple[tuple[int, int], ...] = (),
        waiting: tuple[tuple[int, int], ...] = (),
        resources: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.stalled = stalled
        self.waiting = waiting
        self.resources = resources
