"""What a program can wait for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from controller.plan.ops import View


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Ticket:
    """A submitted plan; yield it to continue when it has ended."""

    number: int
    plan: str


@dataclass(frozen=True, slots=True)
class Completion:
    """How a plan ended.

    Attributes:
        ticket: of the plan.
        submitted_at, end_at: instants of device time [s].
        cancelled: it was ended by `Run.cancel` before all of its ops had.
    """

    ticket: Ticket
    submitted_at: float
    end_at: float
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Yield it to continue after `duration_s` of device time [s]."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Repeat:
    """Yield it to let a plan that has ended run `times` more, one after the other."""

    done: Completion
    times: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Yield it to receive the values of a view: an array where buffers hold values, else None."""

    view: View


@dataclass(eq=False, slots=True)
class Event:
    """Something that one program signals and others wait for; it happens once.

    Attributes:
        name: for messages.
        is_set: whether it has happened.
        value: what it said.
    """

    name: str
    is_set: bool = False
    value: Any = None
    told: list[Callable[[Event], None]] = field(default_factory=list, repr=False)

    def set(self, value: Any = None) -> None:
        """Resumes every program that waits for it, now and with `value`; a second call does nothing."""
        if not self.is_set:
            self.is_set, self.value = True, value
            told, self.told = self.told, []
            for tell in told:
                tell(self)


@dataclass(frozen=True, slots=True)
class WaitAny:
    """Ends with the first of `waits`; gives a dict of those that have happened, each with its value."""

    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class WaitAll:
    """Ends with the last of `waits`; gives their values in order."""

    waits: tuple[Wait, ...]


Leaf = Ticket | Delay | Event
Wait = Leaf | WaitAny | WaitAll


def wait_any(*waits: Wait) -> WaitAny:
    """Yield this to resume when any of `waits` has happened."""
    return WaitAny(waits)


def wait_all(*waits: Wait) -> WaitAll:
    """Yield this to resume when all of `waits` have happened."""
    return WaitAll(waits)


def value_of(wait: Wait, happened: Callable[[Leaf], tuple[bool, Any]]) -> tuple[bool, Any]:
    """Whether `wait` has ended, and with what.

    Args:
        wait: ticket, delay, event, or several.
        happened: the same for a ticket, delay or event.
    """
    if isinstance(wait, WaitAny):
        found = {each: value for each in wait.waits for ended, value in [value_of(each, happened)] if ended}
        return bool(found), found
    if isinstance(wait, WaitAll):
        results = [value_of(each, happened) for each in wait.waits]
        return all(ended for ended, _ in results), [value for _, value in results]
    return happened(wait)


def leaves(wait: Wait) -> tuple[Leaf, ...]:
    """The tickets, delays and events of a wait, in order."""
    if isinstance(wait, WaitAny | WaitAll):
        return tuple(leaf for each in wait.waits for leaf in leaves(each))
    return (wait,)
