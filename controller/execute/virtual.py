"""Times programs on the declared hardware: the discrete-event executor.

No byte moves. Every op is an activity of the engine, and the clock is the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from controller.clock import wall_clock_s
from controller.engine import Activities, Engine
from controller.engine.deadlock import EngineNames
from controller.engine.errors import EngineDeadlock as Stuck
from controller.engine.errors import EngineError
from controller.errors import BadWait, Deadlock, DeviceUnreachable, OutOfMemory, RunError
from controller.execute.costs import Costs
from controller.execute.critical import PathRecord
from controller.execute.flash_traffic import FlashTraffic
from controller.execute.ledger import Ledger
from controller.execute.losses import Losses, devices_of, unreachable
from controller.execute.occupancy import Lifetimes, Occupancy, check_unused
from controller.execute.outcome import Outcome, Overflow, Shortage
from controller.execute.part_changes import Moved, PartChanges
from controller.execute.spans import record_spans
from controller.execute.template import Bound, Template
from controller.execute.trace import Trace
from controller.fabric.loads import Fabric
from controller.faults.effects import EffectsOf
from controller.faults.timeline import Timeline
from controller.plan.check import check_submission
from controller.plan.extents import check_binding, describe
from controller.plan.memo import PlanMemo
from controller.plan.ops import Buffer, Plan, View
from controller.plan.size import Bindings
from controller.program.drive import drive
from controller.program.results import Figure
from controller.program.run import Content, ProgramFunction, ProgressSink
from controller.program.waits import Completion, Delay, Event, Fetch, Repeat, Ticket
from controller.topology.schema import Topology
from node.protocol import NODE_TIMEOUT_S

MOST_TEMPLATES = 64
"""Plans whose compiled form a run keeps, the latest; a program repeats few, and one that makes a plan a step none."""
_Edged = tuple[Mapping[int, tuple[int, ...]], Plan]
"""Further edges, and the plan that has them."""


@dataclass(slots=True)
class _Submission:
    ticket: Ticket
    template: Template | None
    bound: Bound | None
    submitted_at: float
    lifetimes: Lifetimes | None
    moved: Moved | None = None
    is_cancelled: bool = False
    is_repetition: bool = False


class VirtualRun:
    """The virtual clock as programs see it; implements `Run`."""

    live = False

    def __init__(
        self,
        topology: Topology,
        *,
        trace: Trace | None = None,
        record: PathRecord | None = None,
        progress: ProgressSink | None = None,
    ) -> None:
        self.topology = topology
        self.trace, self.record = trace, record
        self.log = None if trace is None else trace.log
        effects = EffectsOf(Timeline(topology, topology.faults)).all()
        self.fabric = Fabric(topology, frozenset().union(*(each.down_links for _, each in effects)))
        self.engine = Engine(
            names=EngineNames(
                self._activity_name,
                lambda number: str(self.fabric.resource_names[number]),
                self.fabric.queue_name,
            )
        )
        self.engine.add_resources(self.fabric.capacity)
        self.engine.add_queues(self.fabric.slots)
        self._connection_count = 0
        self.part_changes = PartChanges(self.fabric, self.engine, effects)
        self.losses = Losses(topology, NODE_TIMEOUT_S)
        self.costs = Costs(topology, self.fabric)
        self.occupancy = Occupancy(topology, trace)
        self.ledger = Ledger(self.fabric)
        self.flash = FlashTraffic(topology)
        self.outcome = Outcome()
        self._progress = progress
        self._submissions: dict[int, _Submission] = {}
        self._checked: PlanMemo[bool] = PlanMemo()
        self._edged: PlanMemo[_Edged] = PlanMemo()
        self._templates: PlanMemo[tuple[object, Template]] = PlanMemo(most=MOST_TEMPLATES)
        self._mark_at = 0.0
        self._ended_last = -1

    @property
    def now(self) -> float:
        """Device time [s]."""
        return float(self.engine.now)

    def place(self, buffer: Buffer, content: Content = None, *, written: bool = False) -> None:
        """Places the buffer; does not make its content."""
        self.occupancy.take(buffer, written=written or content is not None, now=self.now)

    def release(self, buffer: Buffer) -> None:
        started = (entry.template.plan for entry in self._submissions.values() if entry.template is not None)
        check_unused(buffer, started)
        self.occupancy.give(buffer, now=self.now)

    def write(self, buffer: Buffer, content: Content) -> None:
        self.occupancy.set_written(buffer)

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        if self._next_change_at() <= self.now:
            self._change_parts()
        if self._checked.get(plan) is None:
            check_submission(plan, self.topology, bindings)
            self._checked.put(plan, True)
        else:
            check_binding(plan, bindings)
        self.occupancy.admit(plan)
        try:
            self.losses.check(plan)
        except DeviceUnreachable:
            if self.log is not None:
                self.log.refused(plan, self.now)
            raise
        lifetimes = self.occupancy.begin(plan, now=self.now)
        self.flash.add(plan, bindings)
        compiled, bound = self._compile(_with_edges(plan, lifetimes.extra_after, self._edged), bindings)
        self._open_connections()
        full_rate, bound = bound.rate_limit, self.part_changes.submitted(bound, compiled)
        number = self.engine.submit(
            compiled.activities,
            work=bound.work,
            latency_s=bound.latency_s,
            rate_limit=bound.rate_limit,
            load_weight=bound.load_weight,
        )
        ticket = Ticket(number, plan.name)
        moved = Moved(number, compiled, bound, full_rate) if self.part_changes.declared else None
        kept = bound if moved is None else moved.bound
        self._submissions[number] = _Submission(ticket, compiled, kept, self.now, lifetimes, moved)
        return ticket

    def plan_of(self, ticket: Ticket) -> Plan:
        """The plan of a ticket as it is executed, with the edges that its allocations need."""
        template = self._submissions[ticket.number].template
        assert template is not None, "a delay has no plan"
        return template.plan

    def made_by(self, ticket: Ticket) -> tuple[Buffer, ...]:
        """What a running plan allocates and keeps."""
        lifetimes = self._submissions[ticket.number].lifetimes
        return () if lifetimes is None else lifetimes.made

    def _compile(self, plan: Plan, bindings: Bindings) -> tuple[Template, Bound]:
        """The plan's arrays for these sizes; compiled anew only when an op loads other resources than before."""
        kept = self._templates.get(plan)
        if kept is not None and kept[0] is self.part_changes.epoch:
            bound = kept[1].bind(bindings)
            if bound is not None:
                return kept[1], bound
        template = Template(plan, self.costs, bindings)
        self._templates.put(plan, (self.part_changes.epoch, template))
        return template, template.first_bound()

    def _open_connections(self) -> None:
        """Gives every connection that a template has named its queue in the engine."""
        new = len(self.fabric.connections) - self._connection_count
        if new:
            self.engine.add_queues(np.ones(new, np.int32), pipelined=True)
            self._connection_count += new

    def fetch(self, view: Buffer | View) -> Fetch:
        return Fetch(view.view() if isinstance(view, Buffer) else view)

    def delay(self, duration_s: float) -> Delay:
        return Delay(duration_s)

    def repeat(self, done: Completion, times: int) -> Repeat:
        return Repeat(done, times)

    def repeat_ticket(self, done: Completion, times: int) -> Ticket:
        if done.ticket.number != self._ended_last or self._submissions:
            raise BadWait(
                f"plan {done.ticket.plan!r} cannot be repeated: it did not end last and alone; repeat it right after "
                f"it has ended, with nothing beside it"
            )
        self.ledger.again(times)
        if self.record is not None:
            self.record.again(self.now, times)
        if self.trace is not None and self.trace.strips is not None:
            self.trace.strips.again(self.now, self.now + times * (done.end_at - done.submitted_at), times)
        if self.log is not None:
            self.log.again(times, done.end_at - done.submitted_at)
        return self._sleep(times * (done.end_at - done.submitted_at), is_repetition=True)

    def cancel(self, ticket: Ticket) -> None:
        entry = self._submissions.get(ticket.number)
        if entry is None:
            return
        # Backwards, so that nothing starts because what it waits for has gone.
        rows = range(len(self.engine.end_at(ticket.number)) - 1, -1, -1)
        loads = None if entry.bound is None or entry.template is None else entry.template.activities.load_start
        left = np.zeros(len(rows))
        for row in rows:
            if entry.bound is not None and loads is not None:
                weights = entry.bound.load_weight[loads[row] : loads[row + 1]]
                left[row] = self.engine.reweigh(ticket.number, row, weights)
            entry.is_cancelled |= self.engine.cancel(ticket.number, row)
        if entry.is_cancelled and entry.bound is not None:
            entry.bound = replace(entry.bound, work=entry.bound.work - left)
        if entry.is_cancelled and entry.lifetimes is not None:
            entry.lifetimes = entry.lifetimes.cancelled()

    def event(self, name: str) -> Event:
        return Event(name)

    def faults(self) -> Event:
        if self._next_change_at() <= self.now:
            self._change_parts()
        return self.losses.event()

    def mark(self, phase: str) -> None:
        self.outcome.phases[phase] = self.outcome.phases.get(phase, 0.0) + self.now - self._mark_at
        self._mark_at = self.now

    def figure(self, name: str, value: Figure) -> None:
        self.outcome.figures[name] = value

    def note(self, text: str) -> None:
        self.outcome.notes.append(text)

    def progress(self, done: int, total: int, what: str) -> None:
        if self._progress is not None:
            self._progress(done, total, what)

    def sleep_ticket(self, duration_s: float) -> Ticket:
        """A ticket that ends after `duration_s` [s]."""
        return self._sleep(duration_s)

    def _sleep(self, duration_s: float, is_repetition: bool = False) -> Ticket:
        number = self.engine.submit(_delay(duration_s))
        self._submissions[number] = _Submission(
            Ticket(number, "delay"), None, None, self.now, None, is_repetition=is_repetition
        )
        return Ticket(number, "delay")

    def unfinished(self) -> tuple[int, ...]:
        return tuple(self._submissions)

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Lets time pass until at least one of the tickets has ended, and says which.

        Raises:
            LinkFailed: what is left waits on a link that has failed.
            DeviceUnreachable: what is left waits on a device that is gone, and no program takes that.
            Deadlock: nothing can go on.
        """
        try:
            ended = self.engine.run(tickets=tickets, until_s=self._next_change_at())
            while not ended:
                if self._change_parts():
                    return []
                ended = self.engine.run(tickets=tickets, until_s=self._next_change_at())
        except EngineError as error:
            if isinstance(error, Stuck):
                stall = self.part_changes.stall(error, self.now, self._activity_name)
                if stall is not None:
                    raise stall from error
            plans = tuple(self._submissions[number].ticket.plan for number in tickets)
            raise Deadlock(f"plans {', '.join(plans)} cannot end at {self.now} s: {error}", plans) from error
        return [self._close(number) for number in ended]

    def _next_change_at(self) -> float:
        return min(self.part_changes.next_at, self.losses.next_at)

    def _change_parts(self) -> bool:
        """Lets parts change that are due now, and moves what took them; whether a program has been told of a loss.

        Raises:
            DeviceUnreachable: a device is gone that something still running needs, and no program takes that.
        """
        running = [entry.moved for entry in self._submissions.values() if entry.moved is not None]
        self.part_changes.apply(self.now, running)
        lost = self.losses.notice(self.now)
        if not lost:
            return False
        if self.losses.tell(lost):
            return True
        for each in lost:
            for plan in running:
                if self._needs(plan, each.device):
                    raise unreachable(each, plan.template.plan.name)
        return False

    def _needs(self, plan: Moved, device: str) -> bool:
        """Whether an op that has not ended needs `device`."""
        left = np.flatnonzero(np.isnan(self.engine.end_at(plan.number)))
        indices = {int(plan.template.op_of[row]) for row in left} - {-1}
        return any(device in devices_of(plan.template.plan.ops[index]) for index in indices)

    def _activity_name(self, number: int, row: int) -> str:
        """What a report of a deadlock calls an activity."""
        template = self._submissions[number].template
        if template is None:
            return "a delay"
        index = int(template.op_of[row])
        what = "launch" if index < 0 else describe(template.plan.ops[index])
        return f"{what} (plan {template.plan.name!r})"

    def _close(self, number: int) -> Completion:
        done = self._submissions.pop(number)
        end_at = self.now
        if done.template is not None and done.bound is not None:
            start, end = self.engine.start_at(number), self.engine.end_at(number)
            if len(end):
                end_at = float(end.max())
            never = np.isnan(start)
            if never.any():  # cancelled before they started: they took no time, and hold nothing up
                start, end = np.where(never, done.submitted_at, start), np.where(never, done.submitted_at, end)
            self.ledger.add(done.template, done.bound, start, end, ~never)
            if self.record is not None:
                self.record.add(done.template, done.bound, done.submitted_at, start, end)
            if self.trace is not None:
                record_spans(self.trace, done.template, done.bound, start, end, ~never)
            if self.log is not None and not done.is_cancelled:
                self.log.add(done.template, done.bound, done.submitted_at, start, end)
            self._ended_last = number
        elif self.record is not None and not done.is_repetition and not done.is_cancelled:
            self.record.add_delay(done.submitted_at, end_at)
        self.engine.release(number)
        if done.lifetimes is not None:
            self.occupancy.end(done.lifetimes, now=self.now)
        return Completion(done.ticket, done.submitted_at, end_at, done.is_cancelled)

    def out_of_memory(self, error: OutOfMemory) -> None:
        """Makes running out of memory the outcome."""
        self.outcome.ended = str(error)
        self.outcome.overflow = Overflow.of(error)
        self.outcome.shortages = (Shortage.of(error),)

    def leave(self) -> None:
        """Lets what can go on do so, and logs how far every plan has come."""
        if self.log is None:
            return
        with suppress(EngineError):
            self.engine.run()
        for number, entry in self._submissions.items():
            if entry.template is not None and entry.bound is not None:
                start, end = self.engine.start_at(number), self.engine.end_at(number)
                self.log.add(entry.template, entry.bound, entry.submitted_at, start, end)

    def finish(self) -> None:
        """Fills the outcome with the sums of the run."""
        self.outcome.time_s = self.now
        self.outcome.link_changes = tuple(self.part_changes.link_reports)
        self.outcome.part_changes = tuple(self.part_changes.part_reports)
        self.outcome.resources = self.ledger.resources(self.now)
        self.outcome.op_times = self.ledger.op_times()
        self.outcome.flash = dict(self.flash.uses())
        self.outcome.peak_bytes = {
            f"{device}.{tier}": peak for (device, tier), peak in self.occupancy.peak_bytes.items() if peak
        }


def _with_edges(plan: Plan, extra_after: Mapping[int, tuple[int, ...]], known: PlanMemo[_Edged]) -> Plan:
    """`plan` with further edges: for the same edges the same object out of `known`, whose compiled form is kept."""
    if not extra_after:
        return plan
    kept = known.get(plan)
    if kept is not None and kept[0] == extra_after:
        return kept[1]
    after = tuple(tuple(sorted({*waits, *extra_after.get(index, ())})) for index, waits in enumerate(plan.after))
    made = replace(plan, after=after)
    known.put(plan, (extra_after, made))
    return made


def _delay(duration_s: float) -> Activities:
    return Activities(
        work=np.zeros(1),
        latency_s=np.array([duration_s]),
        rate_limit=np.array([np.inf]),
        queue=np.array([-1], np.int32),
        load_start=np.zeros(2, np.int64),
        load_resource=np.empty(0, np.int32),
        load_weight=np.empty(0),
        dep_start=np.zeros(2, np.int64),
        dep=np.empty(0, np.int32),
    )


def run_virtual(
    topology: Topology,
    programs: Sequence[ProgramFunction],
    *,
    trace: Trace | None = None,
    record: PathRecord | None = None,
    progress: ProgressSink | None = None,
) -> Outcome:
    """Runs programs on the virtual clock until all have ended.

    Args:
        topology: the declared cluster.
        programs: each is called with the run and gives its generator; they go on in the order of completions.
        trace: filled when given.
        record: filled when given; `PathRecord.explain` then says why the run took its time.
        progress: called with (done, total, what).

    Returns:
        The outcome; running out of memory is one of them, not an exception.

    Raises:
        UserError: a plan or name that cannot be executed.
        Deadlock: nothing can go on.
    """
    started = wall_clock_s()
    run = VirtualRun(topology, trace=trace, record=record, progress=progress)
    try:
        run.outcome.results = tuple(drive(run, [program(run) for program in programs], lambda view: None))
    except OutOfMemory as error:
        run.out_of_memory(error)
    except RunError:
        run.leave()
        raise
    run.finish()
    run.outcome.wall_s = wall_clock_s() - started
    return run.outcome
