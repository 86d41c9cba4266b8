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
"""A program without a result."""
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
        """Allocates `buffer` without taking device time; live runs write its `content`.

        Args:
            buffer: what to allocate.
            content: its values, or a function that makes them, called in a live run only.
            written: count it as written although it has no content (zeros), so that a plan may read it.

        Raises:
            OutOfMemory: the tier has no room for it.
        """

    def release(self, buffer: Buffer) -> None:
        """Frees `buffer` without taking device time."""

    def write(self, buffer: Buffer, content: Content) -> None:
        """Replaces the content of a placed buffer without taking device time, as when a prompt arrives."""

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        """Starts `plan` now; `bindings` give its open sizes."""

    def cancel(self, ticket: Ticket) -> None:
        """Ends a plan now; one that has ended stays as it is. `controller.program` says what becomes of buffers."""

    def repeat(self, done: Completion, times: int) -> Repeat:
        """Yield this to run a plan that has just ended, with nothing else running, `times` more.

        Raises:
            BadWait: when it is yielded, if something else has ended since, or still runs.
        """

    def event(self, name: str) -> Event:
        """An event that programs of this run can set and wait for."""

    def faults(self) -> Event:
        """An event that happens when a part of the cluster breaks, before anything that needs the part fails."""

    def fetch(self, view: Buffer | View) -> Fetch:
        """Yield this to receive the values of `view`; None where buffers hold none."""

    def delay(self, duration_s: float) -> Delay:
        """Yield this to let `duration_s` of device time pass [s]."""

    def mark(self, phase: str) -> None:
        """Ends the phase `phase` now; the result reports its length, from the mark before."""

    def figure(self, name: str, value: Figure) -> None:
        """Reports a figure of the program's own; `name` ends with its unit. For readers only: no code acts on it."""

    def note(self, text: str) -> None:
        """Reports, in a sentence, what readers might not expect of this run."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Shows progress: `done` of `total`."""
