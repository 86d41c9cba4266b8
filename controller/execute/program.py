"""Programs: what reacts. A generator on the clock of the run that submits plans and continues when they have ended.

    def decode(run: Run) -> Program:
        run.place(weights, content)                 # before time starts: not timed
        done = yield run.submit(prefill)            # a Completion, when the plan has ended
        run.mark("prefill")
        for position in range(prompt, prompt + output):
            yield run.submit(step, context=position)
            token = yield run.fetch(next_token)     # None on the virtual clock: only data could say
        run.mark("decode")

The same program runs on both executors. A program may not read a clock, open a socket or draw random numbers; what only
data could say it takes from `fetch`, and where that is None from a declared oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from controller.plan.ops import Buffer, Plan, View
from controller.topology.schema import Topology

Array = npt.NDArray[Any]
Content = Array | Callable[[], Array] | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A submitted plan; yield it to continue when it has ended."""

    number: int
    plan: str


@dataclass(frozen=True, slots=True)
class Delay:
    """Yield it to continue after `duration_s` of device time [s]."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """Yield it to receive the values of a view: an array in a live run, None in a virtual one."""

    view: View


@dataclass(frozen=True, slots=True)
class Completion:
    """How a plan ended: instants of device time [s]."""

    ticket: Ticket
    submitted_at: float
    end_at: float


Wish = Ticket | Delay | Fetch
Program = Generator[Wish, Any, None]


class Run(Protocol):
    """What a program sees of an executor."""

    @property
    def topology(self) -> Topology:
        """The declared cluster."""

    @property
    def live(self) -> bool:
        """Whether buffers hold values."""

    @property
    def now(self) -> float:
        """Device time [s]."""

    def place(self, buffer: Buffer, content: Content = None, *, written: bool = False) -> None:
        """Allocates `buffer` outside of time, with `content` when it has some (live runs write it).

        Args:
            buffer: what to allocate.
            content: its values, or a function that makes them, called in a live run only.
            written: count it as written although it has no content (zeros), so that a plan may read it.

        Raises:
            OutOfMemory: the tier lacks the room.
        """

    def release(self, buffer: Buffer) -> None:
        """Gives `buffer` back, outside of time."""

    def write(self, buffer: Buffer, content: Content) -> None:
        """Replaces the content of a placed buffer, outside of time (a prompt arrives)."""

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        """Starts `plan` now with its open sizes bound."""

    def fetch(self, view: Buffer | View) -> Fetch:
        """What to yield to see values."""

    def delay(self, duration_s: float) -> Delay:
        """What to yield to let device time pass."""

    def mark(self, phase: str) -> None:
        """Ends a phase of that name now; the result reports the time since the mark before."""

    def report(self, name: str, value: object) -> None:
        """Puts a value of the program into the result."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Tells whoever watches how far the program is."""
