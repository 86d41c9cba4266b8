"""What a program sees of an executor."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

import numpy.typing as npt

from controller.plan.ops import Buffer, Plan, View
from controller.program.results import (
    CollectiveResult,
    Figure,
    GenerationResult,
    ProgramResult,
    ServingResult,
    TrainingResult,
)
from controller.program.waits import Completion, Delay, Event, Fetch, Repeat, Ticket, Wait
from controller.topology.schema import Topology

Array = npt.NDArray[Any]
Content = Array | Callable[[], Array] | None

Wish = Wait | Fetch | Repeat
Program = Generator[Wish, Any, None]
"""A program that hands nothing on."""
GenerationProgram = Generator[Wish, Any, GenerationResult]
TrainingProgram = Generator[Wish, Any, TrainingResult]
ServingProgram = Generator[Wish, Any, ServingResult]
CollectiveProgram = Generator[Wish, Any, CollectiveResult]
AnyProgram = Generator[Wish, Any, ProgramResult | None]
ProgramFunction = Callable[["Run"], AnyProgram]
ProgressSink = Callable[[int, int, str], None]


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

    def cancel(self, ticket: Ticket) -> None:
        """Ends a plan now; one that has ended stays as it is (see `controller.program`)."""

    def repeat(self, done: Completion, times: int) -> Repeat:
        """What to yield to let a plan that has just ended, with nothing beside it, run `times` more.

        Raises:
            BadWait: when it is yielded, if something else has ended since, or still runs.
        """

    def event(self, name: str) -> Event:
        """An event that programs of this run can set and wait for."""

    def faults(self) -> Event:
        """Happens when something of the cluster breaks, before that becomes an error; nothing is declared to yet."""

    def fetch(self, view: Buffer | View) -> Fetch:
        """What to yield to see values."""

    def delay(self, duration_s: float) -> Delay:
        """What to yield to let device time pass."""

    def mark(self, phase: str) -> None:
        """Ends a phase of that name now; the result reports the time since the mark before."""

    def figure(self, name: str, value: Figure) -> None:
        """Tells people a figure of the program's own, under a name that ends with its unit; nothing acts on it."""

    def note(self, text: str) -> None:
        """Tells people in a sentence what they might not expect of this run."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Tells whoever watches how far the program is."""
