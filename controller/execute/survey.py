"""What a program would submit, without running it: its plans checked, and how full every tier gets.

No time passes and nothing moves: every plan ends at once, and nothing can be fetched. A program that ends early on
values therefore submits as many plans as the longest run does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.errors import OutOfMemory
from controller.execute.occupancy import Occupancy, check_unused
from controller.plan.capacity import TierKey
from controller.plan.check import check_plan
from controller.plan.extents import check_forms
from controller.plan.ops import Buffer, Plan, View
from controller.program.drive import drive
from controller.program.results import Figure
from controller.program.run import Content, ProgramFunction
from controller.program.waits import Completion, Delay, Event, Fetch, Repeat, Ticket
from controller.topology.schema import Topology


@dataclass(slots=True)
class SurveyedPlan:
    """One plan of a program.

    Attributes:
        plan: as submitted.
        first, last: numbers for its open sizes at its first and its last submission.
        submission_count: how often it is submitted.
    """

    plan: Plan
    first: Mapping[str, int]
    last: Mapping[str, int]
    submission_count: int = 1


@dataclass(slots=True)
class Survey:
    """What `survey` found.

    Attributes:
        plans: each plan once, in the order of first submission.
        placed: buffers that live outside of plans, in order.
        peak_bytes: highest occupancy by (device, tier), for every tier that is used [bytes].
        capacity_bytes: of every tier [bytes].
        does_not_fit: why the program ends early, None when everything fits.
    """

    plans: list[SurveyedPlan] = field(default_factory=list)
    placed: list[Buffer] = field(default_factory=list)
    peak_bytes: dict[TierKey, int] = field(default_factory=dict)
    capacity_bytes: dict[TierKey, int] = field(default_factory=dict)
    does_not_fit: OutOfMemory | None = None


def survey(topology: Topology, programs: Sequence[ProgramFunction]) -> Survey:
    """Asks `programs` for their plans and checks each.

    Raises:
        UserError: a plan that no executor could run.
    """
    run = SurveyRun(topology)
    try:
        drive(run, [program(run) for program in programs], lambda view: None)
    except OutOfMemory as error:
        run.found.does_not_fit = error
    for entry in run.found.plans:
        check_plan(entry.plan, topology, entry.first)
        if entry.last != entry.first:
            check_plan(entry.plan, topology, entry.last)
    run.found.peak_bytes = {key: peak for key, peak in run.occupancy.peak_bytes.items() if peak}
    return run.found


class SurveyRun:
    """A run in which everything ends at once; implements `Run`."""

    live = False
    now = 0.0

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.occupancy = Occupancy(topology)
        self.found = Survey(capacity_bytes=dict(self.occupancy.capacity_bytes))
        self._entries: dict[int, SurveyedPlan] = {}
        self._last_number = 0
        self._tickets: dict[int, Ticket] = {}
        self._started: dict[int, Plan] = {}

    def place(self, buffer: Buffer, content: Content = None, *, written: bool = False) -> None:
        """Places the buffer; does not make its content."""
        self.occupancy.take(buffer, written=written or content is not None, now=self.now)
        self.found.placed.append(buffer)

    def release(self, buffer: Buffer) -> None:
        check_unused(buffer, self._started.values())
        self.occupancy.give(buffer, now=self.now)

    def write(self, buffer: Buffer, content: Content) -> None:
        self.occupancy.set_written(buffer)

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        entry = self._entries.get(id(plan))
        if entry is None:
            check_forms(plan)
            entry = self._entries[id(plan)] = SurveyedPlan(plan, bindings, bindings)
            self.found.plans.append(entry)
        else:
            entry.last = bindings
            entry.submission_count += 1
        self.occupancy.admit(plan)
        self.occupancy.end(self.occupancy.begin(plan, now=self.now), now=self.now)
        ticket = self._ended(plan.name)
        self._started[ticket.number] = plan
        return ticket

    def fetch(self, view: Buffer | View) -> Fetch:
        return Fetch(view.view() if isinstance(view, Buffer) else view)

    def delay(self, duration_s: float) -> Delay:
        return Delay(duration_s)

    def repeat(self, done: Completion, times: int) -> Repeat:
        return Repeat(done, times)

    def repeat_ticket(self, done: Completion, times: int) -> Ticket:
        """A ticket that has ended: what fits once fits again."""
        return self._ended("delay")

    def cancel(self, ticket: Ticket) -> None:
        """Cancels nothing: everything has ended already."""

    def event(self, name: str) -> Event:
        return Event(name)

    def faults(self) -> Event:
        return Event("faults")

    def mark(self, phase: str) -> None:
        """Marks nothing: no time passes."""

    def figure(self, name: str, value: Figure) -> None:
        """Drops the figure: nothing was run."""

    def note(self, text: str) -> None:
        """Drops the note: nothing was run."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Tells nobody: a survey is over at once."""

    def sleep_ticket(self, duration_s: float) -> Ticket:
        """A ticket that has ended."""
        return self._ended("delay")

    def unfinished(self) -> tuple[int, ...]:
        return tuple(self._tickets)

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Everything has ended."""
        for number in tickets:
            self._started.pop(number, None)
        return [Completion(self._tickets.pop(number), self.now, self.now) for number in tickets]

    def _ended(self, name: str) -> Ticket:
        self._last_number += 1
        ticket = self._tickets[self._last_number] = Ticket(self._last_number, name)
        return ticket
