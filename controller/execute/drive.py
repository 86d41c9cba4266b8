"""The loop that lets programs go on as what they wait for happens; shared by both executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from controller.errors import BadWait
from controller.execute.program import Array, Completion, Delay, Fetch, Program, Ticket, Wish
from controller.plan.ops import View

MAX_DELAY_S = 1e9
"""Longest pause [s]: thirty years, after which the clock would tell tenths of a microsecond at best."""


class Clock(Protocol):
    """What the loop needs of an executor."""

    def sleep_ticket(self, duration_s: float) -> Ticket:
        """A ticket that ends after `duration_s` [s]."""

    def unfinished(self) -> tuple[int, ...]:
        """Tickets that have not been advanced to, in order of submission."""

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Lets time pass until at least one of the tickets has ended, and says which, in order."""


def drive(clock: Clock, programs: Sequence[Program], read: Callable[[View], Array | None]) -> None:
    """Runs programs until all have ended, and everything that they submitted with them.

    Args:
        clock: the executor.
        programs: generators; each is resumed with the completion or the values that it waited for.
        read: the values of a view, None where there are none.

    Raises:
        BadWait: a program waits for what it, or another program, has waited for already, or for no such time.
    """
    waiting: dict[int, Program] = {}

    def resume(program: Program, value: object) -> None:
        while True:
            try:
                wish: Wish = program.send(value)
            except StopIteration:
                return
            if isinstance(wish, Fetch):
                value = read(wish.view)
                continue
            if not isinstance(wish, Ticket | Delay):
                raise BadWait(
                    f"a program yielded {type(wish).__name__}; yield what run.submit, run.fetch or run.delay returned"
                )
            if isinstance(wish, Delay):
                _check_delay(wish.duration_s)
            ticket = clock.sleep_ticket(wish.duration_s) if isinstance(wish, Delay) else wish
            if ticket.number in waiting or ticket.number not in clock.unfinished():
                raise BadWait(
                    f"a program waits for plan {ticket.plan!r} (ticket {ticket.number}), which has been waited for "
                    f"already; yield each ticket once"
                )
            waiting[ticket.number] = program
            return

    for program in programs:
        resume(program, None)
    while waiting:
        for completion in clock.advance(tuple(waiting)):
            resume(waiting.pop(completion.ticket.number), completion)
    # What was started and never waited for takes its time too.
    while left := clock.unfinished():
        clock.advance(left)


def _check_delay(duration_s: object) -> None:
    # A comparison with nan is false, so it fails here too.
    if isinstance(duration_s, bool) or not (isinstance(duration_s, int | float) and 0 <= duration_s <= MAX_DELAY_S):
        raise BadWait(f"a program waits for {duration_s!r} s; a delay is a number of seconds from 0 to {MAX_DELAY_S:g}")
