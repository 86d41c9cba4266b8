"""The loop that resumes programs when what they wait for has happened; shared by all executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from controller.errors import BadPlan, BadResult, BadWait, Deadlock
from controller.plan.author import at, author_of
from controller.plan.ops import View
from controller.program.results import ProgramResult
from controller.program.run import AnyProgram, Array, Wish
from controller.program.waits import (
    Completion,
    Delay,
    Event,
    Fetch,
    Leaf,
    Repeat,
    Ticket,
    Wait,
    WaitAll,
    WaitAny,
    leaves,
    value_of,
)
from node.errors import UserInput

MAX_DELAY_S = 1e9
"""Longest pause [s]: thirty years, after which the clock would tell tenths of a microsecond at best."""


class Clock(Protocol):
    """What the loop needs of an executor."""

    def sleep_ticket(self, duration_s: float) -> Ticket:
        """A ticket that ends after `duration_s` [s]."""

    def repeat_ticket(self, done: Completion, times: int) -> Ticket:
        """A ticket that ends when the plan of `done` has run `times` more."""

    def cancel(self, ticket: Ticket) -> None:
        """Ends a plan or a pause now; see `Run.cancel`."""

    def unfinished(self) -> tuple[int, ...]:
        """Tickets that have not been advanced to, in order of submission."""

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Lets time pass until at least one of the tickets has ended, and says which, in order."""


@dataclass(eq=False, slots=True)
class _Waiter:
    program: AnyProgram
    wait: Wait
    timers: dict[Delay, Ticket]
    is_done: bool = False


class _Loop:
    def __init__(self, clock: Clock, read: Callable[[View], Array | None]) -> None:
        self._clock, self._read = clock, read
        self._waiters: dict[Ticket | Event, list[_Waiter]] = {}
        # As long as somebody holds the ticket and could wait for it again; without the ticket, which would hold itself.
        self._ended: WeakKeyDictionary[Ticket, tuple[float, float, bool]] = WeakKeyDictionary()
        self._set: list[Event] = []
        self._results: dict[AnyProgram, ProgramResult | None] = {}

    def run(self, programs: Sequence[AnyProgram]) -> list[ProgramResult | None]:
        for program in programs:
            self._resume(program, None)
        while True:
            while self._set:
                self._wake(self._set.pop(0))
            tickets = tuple(key.number for key in self._waiters if isinstance(key, Ticket))
            if not tickets:
                break
            ended = self._clock.advance(tickets)
            for completion in ended:  # all that happens at one instant is known before any program resumes
                self._ended[completion.ticket] = (completion.submitted_at, completion.end_at, completion.cancelled)
            for completion in ended:
                self._wake(completion.ticket)
        if self._waiters:
            names = tuple(sorted({event.name for event in self._waiters if isinstance(event, Event)}))
            raise Deadlock(
                f"a program waits for event {', '.join(map(repr, names))}, and nothing is left that could set it; "
                f"set it in another program, or wait for it beside something that ends (wait_any)",
                events=names,
            )
        # What was started and never waited for takes its time too.
        while left := self._clock.unfinished():
            self._clock.advance(left)
        return [self._results[program] for program in programs]

    def _happened(self, event: Event) -> None:
        self._set.append(event)

    def _wake(self, key: Ticket | Event) -> None:
        for waiter in self._waiters.pop(key, []):
            if waiter.is_done:
                continue
            ended, value = self._value(waiter.wait, waiter.timers)
            if ended:
                self._forget(waiter)
                self._resume(waiter.program, value)

    def _resume(self, program: AnyProgram, value: object) -> None:
        while True:
            try:
                wish: Wish = program.send(value)
            except StopIteration as stop:
                self._results[program] = _checked_result(stop.value)
                return
            except (BadPlan, UserInput) as error:
                error.args = (at(author_of(error), str(error)), *error.args[1:])
                raise
            if isinstance(wish, Fetch):
                value = self._read(wish.view)
                continue
            if isinstance(wish, Repeat):
                wish = self._clock.repeat_ticket(wish.done, wish.times)
            _check(wish)
            timers: dict[Delay, Ticket] = {}
            for leaf in leaves(wish):
                if isinstance(leaf, Delay) and leaf not in timers:
                    timers[leaf] = self._clock.sleep_ticket(leaf.duration_s)
                elif isinstance(leaf, Ticket):
                    self._check_known(leaf)
            waiter = _Waiter(program, wish, timers)
            ended, value = self._value(wish, timers)
            if not ended:
                self._keep(waiter)
                return
            self._forget(waiter)

    def _keep(self, waiter: _Waiter) -> None:
        for leaf in leaves(waiter.wait):
            key = self._key(leaf, waiter.timers)
            if isinstance(key, Event):
                if key.is_set:
                    continue
                if self._happened not in key.told:  # a loop may wait for one event a thousand times
                    key.told.append(self._happened)
            elif key in self._ended:
                continue
            self._waiters.setdefault(key, []).append(waiter)

    def _forget(self, waiter: _Waiter) -> None:
        """The wait is over: nobody is woken for the rest of it, and its own pauses end."""
        waiter.is_done = True
        for leaf in leaves(waiter.wait):
            key = self._key(leaf, waiter.timers)
            if key in self._waiters:
                left = [each for each in self._waiters[key] if not each.is_done]
                if left:
                    self._waiters[key] = left
                else:
                    del self._waiters[key]
        for ticket in waiter.timers.values():
            if ticket not in self._ended:
                self._clock.cancel(ticket)

    def _key(self, leaf: Leaf, timers: dict[Delay, Ticket]) -> Ticket | Event:
        return timers[leaf] if isinstance(leaf, Delay) else leaf

    def _value(self, wait: Wait, timers: dict[Delay, Ticket]) -> tuple[bool, Any]:
        def happened(leaf: Leaf) -> tuple[bool, Any]:
            key = self._key(leaf, timers)
            if isinstance(key, Event):
                return key.is_set, key.value
            times = self._ended.get(key)
            return times is not None, None if times is None else Completion(key, *times)

        return value_of(wait, happened)

    def _check_known(self, ticket: Ticket) -> None:
        if ticket not in self._ended and ticket.number not in self._clock.unfinished():
            raise BadWait(
                f"a program waits for plan {ticket.plan!r} (ticket {ticket.number}), which this run never started; "
                f"yield what run.submit of the same run returned"
            )


def drive(
    clock: Clock, programs: Sequence[AnyProgram], read: Callable[[View], Array | None]
) -> list[ProgramResult | None]:
    """Runs programs until all have ended, and everything that they submitted with them.

    Args:
        clock: the executor.
        programs: generators; each is resumed with what its wait gives (`controller.program.waits`).
        read: the values of a view, None where there are none.

    Returns:
        What each program returned.

    Raises:
        BadResult: a program returned what is no result.
        BadWait: a program waits for what is no ticket of the run, for no such time, or for nothing.
        Deadlock: a program waits for an event that no remaining program can set.
    """
    return _Loop(clock, read).run(programs)


def _checked_result(value: object) -> ProgramResult | None:
    if value is None or isinstance(value, ProgramResult):
        return value
    raise BadResult(
        f"a program returned {type(value).__name__}; return a GenerationResult, TrainingResult, "
        f"ServingResult or CollectiveResult, or nothing, and tell people other figures with run.figure(name, value)"
    )


def _check(wish: object) -> None:
    if isinstance(wish, WaitAny | WaitAll):
        if not wish.waits:
            raise BadWait("a program waits for nothing: give wait_any and wait_all at least one ticket, delay or event")
        for each in wish.waits:
            _check(each)
    elif isinstance(wish, Delay):
        _check_delay(wish.duration_s)
    elif not isinstance(wish, Ticket | Event):
        raise BadWait(
            f"a program yielded {type(wish).__name__}; yield what run.submit, run.fetch, run.delay, run.event, "
            f"wait_any or wait_all returned"
        )


def _check_delay(duration_s: object) -> None:
    # A comparison with nan is false, so it fails here too.
    if isinstance(duration_s, bool) or not (isinstance(duration_s, int | float) and 0 <= duration_s <= MAX_DELAY_S):
        raise BadWait(f"a program waits for {duration_s!r} s; a delay is a number of seconds from 0 to {MAX_DELAY_S:g}")
