"""Times programs on the declared hardware: the discrete-event executor.

No byte moves. Every op is an activity of the engine, and the clock is the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.clock import wall_clock_s
from controller.engine import Engine
from controller.engine.deadlock import EngineNames
from controller.engine.errors import EngineDeadlock as Stuck
from controller.engine.errors import EngineError
from controller.errors import BadWait, Deadlock, DeviceUnreachable, OutOfMemory, RunError
from controller.execute.compiled_plans import CompiledPlans
from controller.execute.costs import Costs
from controller.execute.critical import PathRecord
from controller.execute.flash_traffic import FlashTraffic
from controller.execute.losses import Losses, unreachable
from controller.execute.occupancy import Occupancy, check_unused
from controller.execute.outcome import Outcome
from controller.execute.part_changes import Moved, PartChanges
from controller.execute.records import Records
from controller.execute.submission import Submission, delay_of
from controller.execute.trace import Trace
from controller.fabric.loads import Fabric
from controller.faults.effects import EffectsOf
from controller.faults.timeline import Timeline
from controller.plan.check import check_submission
from controller.plan.extents import check_binding
from controller.plan.memo import PlanMemo
from controller.plan.ops import Buffer, Plan, View
from controller.program.drive import drive
from controller.program.results import Figure
from controller.program.run import Content, ProgramFunction, ProgressSink
from controller.program.waits import Completion, Delay, Event, Fetch, Repeat, Ticket
from controller.topology.schema import Topology
from node.protocol import NODE_TIMEOUT_S


class VirtualRun:
    """The virtual clock as programs see it; implements `Run`."""

    live = False

    def __init__(
        self, topology: Topology, *, trace: Trace | None = None, record: PathRecord | None = None,
        progress: ProgressSink | None = None,
    ) -> None:  # fmt: skip
        self.topology = topology
        effects = EffectsOf(Timeline(topology, topology.faults)).all()
        self.fabric = Fabric(topology, frozenset().union(*(each.down_links for _, each in effects)))
        fabric = self.fabric
        self.engine = Engine(
            names=EngineNames(self._activity_name, lambda one: str(fabric.resource_names[one]), fabric.queue_name)
        )
        self.engine.add_resources(self.fabric.capacity)
        self.engine.add_queues(self.fabric.slots)
        self.part_changes = PartChanges(self.fabric, self.engine, effects)
        self.losses = Losses(topology, NODE_TIMEOUT_S)
        self.costs = Costs(topology, self.fabric)
        self.occupancy = Occupancy(topology, trace)
        self._records = Records(self.fabric, trace, record)
        self.ledger = self._records.ledger
        self.flash = FlashTraffic(topology)
        self.outcome = Outcome()
        self._progress = progress
        self._submissions: dict[int, Submission] = {}
        self._checked: PlanMemo[bool] = PlanMemo()
        self._compiled_plans = CompiledPlans(self.fabric, self.engine, self.costs)
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
        check_unused(buffer, (entry.plan for entry in self._submissions.values() if entry.template is not None))
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
            self._records.add_refused(plan, self.now)
            raise
        lifetimes = self.occupancy.begin(plan, now=self.now)
        self.flash.add(plan, bindings)
        compiled, bound = self._compiled_plans.compiled(plan, lifetimes.extra_after, bindings, self.part_changes.epoch)
        full_rate, bound = bound.rate_limit, self.part_changes.submitted(bound, compiled)
        number = self.engine.submit(
            compiled.activities, work=bound.work, latency_s=bound.latency_s, rate_limit=bound.rate_limit,
            load_weight=bound.load_weight,
        )  # fmt: skip
        ticket = Ticket(number, plan.name)
        moved = Moved(number, compiled, bound, full_rate) if self.part_changes.declared else None
        kept = bound if moved is None else moved.bound
        self._submissions[number] = Submission(ticket, compiled, kept, self.now, lifetimes, moved)
        return ticket

    def plan_of(self, ticket: Ticket) -> Plan:
        """The plan of a ticket as it is executed, with the edges that its allocations need."""
        return self._submissions[ticket.number].plan

    def made_by(self, ticket: Ticket) -> tuple[Buffer, ...]:
        """What a running plan allocates and keeps."""
        return self._submissions[ticket.number].made

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
        self._records.repeat(done, times, self.now)
        return self.sleep_ticket(times * (done.end_at - done.submitted_at), is_repetition=True)

    def cancel(self, ticket: Ticket) -> None:
        entry = self._submissions.get(ticket.number)
        if entry is not None:
            entry.cancel(self.engine)

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

    def sleep_ticket(self, duration_s: float, is_repetition: bool = False) -> Ticket:
        """A ticket that ends after `duration_s` [s]; `is_repetition`: it stands for runs of a plan."""
        ticket = Ticket(self.engine.submit(delay_of(duration_s)), "delay")
        self._submissions[ticket.number] = Submission(ticket, None, None, self.now, None, is_repetition=is_repetition)
        return ticket

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
            for entry in self._submissions.values():
                if entry.moved is not None and entry.needs(self.engine, each.device):
                    raise unreachable(each, entry.ticket.plan)
        return False

    def _activity_name(self, number: int, row: int) -> str:
        """What a report of a deadlock calls an activity."""
        return self._submissions[number].activity_name(row)

    def _close(self, number: int) -> Completion:
        done = self._submissions.pop(number)
        end_at = self.now
        if done.template is not None and done.bound is not None:
            start, end = self.engine.start_at(number), self.engine.end_at(number)
            if len(end):
                end_at = float(end.max())
            self._records.add_plan(done, start, end)
            self._ended_last = number
        else:
            self._records.add_delay(done, end_at)
        self.engine.release(number)
        if done.lifetimes is not None:
            self.occupancy.end(done.lifetimes, now=self.now)
        return Completion(done.ticket, done.submitted_at, end_at, done.is_cancelled)

    def out_of_memory(self, error: OutOfMemory) -> None:
        """Makes running out of memory the outcome."""
        self.outcome.run_out(error)

    def leave(self) -> None:
        """Lets what can go on do so, and logs how far every plan has come."""
        self._records.add_unfinished(self._submissions.values(), self.engine)

    def finish(self) -> None:
        """Fills the outcome with the sums of the run."""
        self.outcome.time_s = self.now
        self.outcome.link_changes = tuple(self.part_changes.link_reports)
        self.outcome.part_changes = tuple(self.part_changes.part_reports)
        self.outcome.resources = self.ledger.resources(self.now)
        self.outcome.op_times = self.ledger.op_times()
        self.outcome.flash = dict(self.flash.uses())
        self.outcome.peak_bytes = self.occupancy.peaks


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
