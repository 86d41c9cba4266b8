"""Runs programs on real node processes, and times the same plans virtually beside them.

The virtual run is not a copy of the live one: every plan is submitted to both with the same open sizes. Values come
from the nodes, `time_s` from the engine, `paced_s` from the clocks of the nodes when they are paced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from controller.clock import wall_clock_s
from controller.errors import BadTopology, KernelFailed, LinkFailed, OutOfMemory
from controller.execute.critical import PathRecord
from controller.execute.dispatch import Dispatch, buffer_key, event_owners
from controller.execute.outcome import OpTimes, Outcome
from controller.execute.phases import Phases
from controller.execute.trace import Trace
from controller.execute.virtual import VirtualRun
from controller.launch import Cluster
from controller.plan.extents import describe
from controller.plan.memo import PlanMemo
from controller.plan.ops import Buffer, Kernel, Plan, Transfer, View
from controller.plan.size import bind_size
from controller.program.drive import drive
from controller.program.results import Figure
from controller.program.run import AnyProgram, Array, Content, ProgramFunction, ProgressSink, Run
from controller.program.waits import Completion, Delay, Event, Fetch, Repeat, Ticket
from controller.topology.schema import Topology
from node.client import CommandCompletion

POLL_S = 0.2


@dataclass(slots=True)
class _InFlight:
    plan: Plan
    bindings: Mapping[str, int]
    first_event: int
    futures: dict[str, Future[list[CommandCompletion]]]


class LiveRun:
    """Node processes as programs see them; implements `Run`."""

    live = True

    def __init__(self, virtual: VirtualRun, cluster: Cluster, phases: Phases | None = None) -> None:
        self.virtual, self.cluster, self.phases = virtual, cluster, phases
        if cluster.pace is not None and (virtual.fabric.routes_flows or virtual.part_changes.declared):
            raise BadTopology(
                f"{virtual.topology.name}: nodes hold each transfer to one path and know neither routing "
                f"({virtual.fabric.routing}) nor parts that change; remove --pace, or --routing and every fault"
            )
        self.topology = virtual.topology
        self.dispatch = Dispatch(virtual.topology, virtual.fabric)
        self.device_now = 0.0
        self._started = False
        self._next_event = 1
        self._in_flight: dict[int, _InFlight] = {}
        self._last: _InFlight | None = None
        self._wakes_at: dict[int, float] = {}
        self._label_s: dict[str, float] = {}
        self._flash_of: PlanMemo[tuple[str, ...]] = PlanMemo()
        self._mark_at = 0.0
        self.overruns = 0
        self._watched: frozenset[str] | None = None

    @property
    def now(self) -> float:
        """Virtual device time [s]."""
        return self.virtual.now

    def place(self, buffer: Buffer, content: Content = None, *, written: bool = False) -> None:
        self.virtual.place(buffer, content, written=written)
        client = self.cluster.clients[buffer.device]
        client.allocate(buffer_key(buffer), buffer.tier, buffer.dtype, buffer.shape)
        if content is not None:
            self.cluster.clients[buffer.device].write(buffer_key(buffer), _made(content))

    def release(self, buffer: Buffer) -> None:
        self.virtual.release(buffer)
        self.cluster.clients[buffer.device].free(buffer_key(buffer))

    def write(self, buffer: Buffer, content: Content) -> None:
        self.virtual.write(buffer, content)
        if content is not None:
            self.cluster.clients[buffer.device].write(buffer_key(buffer), _made(content))

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        if not self._started:
            # Loading took wall time that the emulated devices never spend: their clocks start with the first plan.
            if self.phases is not None:
                self.phases.begin("run")
            self.cluster.start_clocks()
            self._started = True
        ticket = self.virtual.submit(plan, **bindings)
        self._in_flight[ticket.number] = self._hand_out(self.virtual.plan_of(ticket), bindings)
        return ticket

    def _hand_out(self, executed: Plan, bindings: Mapping[str, int]) -> _InFlight:
        first_event = self._next_event
        self._next_event += len(event_owners(executed))
        commands = self.dispatch.commands(executed, first_event, bindings)
        futures = {
            device: self.cluster.clients[device].submit(batch, ready_at=self.device_now)
            for device, batch in commands.items()
        }
        return _InFlight(executed, dict(bindings), first_event, futures)

    def cancel(self, ticket: Ticket) -> None:
        """Cancels on the virtual clock alone: nodes end what they were handed."""
        flight = self._in_flight.pop(ticket.number, None)
        made = () if flight is None else self.virtual.made_by(ticket)
        self.virtual.cancel(ticket)
        if flight is not None:
            self._collect(flight)
            self._commit(flight.plan)
            # Every op has run, so that what the plan allocates and keeps is there, and has to go.
            for buffer in made:
                self.cluster.clients[buffer.device].free(buffer_key(buffer))
        self._wakes_at.pop(ticket.number, None)

    def repeat(self, done: Completion, times: int) -> Repeat:
        return self.virtual.repeat(done, times)

    def repeat_ticket(self, done: Completion, times: int) -> Ticket:
        """Executes every repetition: none is skipped, as each computes values."""
        ticket = self.virtual.repeat_ticket(done, times)
        assert self._last is not None, "a plan that has ended was handed out"
        for _ in range(times):
            flight = self._hand_out(self._last.plan, self._last.bindings)
            self._collect(flight)
            self._commit(flight.plan)
        return ticket

    def event(self, name: str) -> Event:
        return self.virtual.event(name)

    def faults(self) -> Event:
        return self.virtual.faults()

    def fetch(self, view: Buffer | View) -> Fetch:
        return self.virtual.fetch(view)

    def read(self, view: View) -> Array:
        """The values of a view."""
        shape = tuple(bind_size(extent, {}) for extent in view.shape)
        client = self.cluster.clients[view.buffer.device]
        return client.read(buffer_key(view.buffer), offset_bytes=bind_size(view.offset_bytes, {}), shape=shape)

    def watch(self, devices: Sequence[str]) -> None:
        """Cares for the nodes of these devices alone from now on: others may be dead."""
        self._watched = frozenset(devices)

    def delay(self, duration_s: float) -> Delay:
        return self.virtual.delay(duration_s)

    def sleep_ticket(self, duration_s: float) -> Ticket:
        """A ticket that ends after `duration_s` [s]; the nodes' next work is not ready before."""
        ticket = self.virtual.sleep_ticket(duration_s)
        self._wakes_at[ticket.number] = self.device_now + duration_s
        return ticket

    def mark(self, phase: str) -> None:
        self.virtual.mark(phase)
        if self.cluster.pace is not None:
            phases = self.virtual.outcome.paced_phases
            phases[phase] = phases.get(phase, 0.0) + self.device_now - self._mark_at
            self._mark_at = self.device_now

    def figure(self, name: str, value: Figure) -> None:
        self.virtual.figure(name, value)

    def note(self, text: str) -> None:
        self.virtual.note(text)

    def progress(self, done: int, total: int, what: str) -> None:
        self.virtual.progress(done, total, what)

    def unfinished(self) -> tuple[int, ...]:
        return self.virtual.unfinished()

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Waits until the plans that end next on the virtual clock have ended on the nodes too."""
        ended = self.virtual.advance(tickets)
        for completion in ended:
            # Programs may sleep beside each other, so that their pauses do not add up.
            self.device_now = max(self.device_now, self._wakes_at.pop(completion.ticket.number, 0.0))
            flight = self._in_flight.pop(completion.ticket.number, None)
            if flight is not None:
                self._collect(flight)
                self._commit(flight.plan)
                self._last = flight
        return ended

    def finish(self) -> None:
        """Fills in what only a live run has."""
        self.virtual.finish()
        outcome = self.virtual.outcome
        if self.cluster.pace is not None:
            outcome.paced_s = self.device_now
            outcome.op_times = tuple(
                OpTimes(entry.label, entry.count, entry.time_s, self._label_s.get(entry.label))
                for entry in outcome.op_times
            )
        outcome.overruns = self.overruns

    def _collect(self, flight: _InFlight) -> None:
        pending = list(flight.futures.values())
        while pending:
            if self._watched is None or self._watched & self.cluster.lost:
                self.cluster.check()
            pending = list(wait(pending, timeout=POLL_S).not_done)
        plan = flight.plan
        for device, future in flight.futures.items():
            for done in future.result():
                op = plan.ops[event_owners(plan)[done.id - flight.first_event]]
                if done.error:
                    text = f"plan {plan.name!r}, {describe(op)} at {device}: {done.error}"
                    if done.dropped_link:
                        raise LinkFailed(text, (done.dropped_link,))
                    raise KernelFailed(text, device, plan.name, describe(op))
                label = _label(op)
                self._label_s[label] = self._label_s.get(label, 0.0) + done.end_at - done.start_at
                self.overruns += done.overrun
                self.device_now = max(self.device_now, done.end_at)

    def _commit(self, plan: Plan) -> None:
        """Acknowledges the plan: what it wrote to flash survives from here on, on every drive or on none."""
        touched = self._flash_of.of(plan, self._flash_devices)
        if touched:
            self.cluster.commit(touched)

    def _flash_devices(self, plan: Plan) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for op in plan.ops:
            views = op.outputs if isinstance(op, Kernel) else op.destinations if isinstance(op, Transfer) else ()
            for view in views:
                tier = self.topology.devices[view.buffer.device].spec.tiers[view.buffer.tier]
                if tier.storage == "flash":
                    found[view.buffer.device] = None
        return tuple(found)


def _made(content: Array | Callable[[], Array]) -> Array:
    return content() if callable(content) else content


def _label(op: object) -> str:
    if isinstance(op, Kernel):
        return op.label or op.op
    return (op.label if isinstance(op, Transfer) else "") or "transfer"


def run_live(
    topology: Topology,
    programs: Sequence[ProgramFunction],
    cluster: Cluster,
    *,
    trace: Trace | None = None,
    record: PathRecord | None = None,
    progress: ProgressSink | None = None,
    phases: Phases | None = None,
) -> Outcome:
    """Runs programs on the nodes of `cluster` until all have ended.

    Args:
        topology: the declared cluster, as `cluster` was launched with.
        programs: each is called with the run and gives its generator.
        cluster: running nodes.
        trace: filled with the virtual timeline when given.
        record: filled from the virtual timeline when given.
        progress: called with (done, total, what).
        phases: told when placing begins and when the first plan does.

    Returns:
        The outcome; running out of memory is one of them, not an exception.

    Raises:
        DeviceUnreachable: a node died; names its device.
        KernelFailed: a node refused or failed an op.
        LinkFailed: an op needed a link that was dropped on purpose.
    """
    started = wall_clock_s()
    if phases is not None:
        phases.begin("place", "placing what the devices hold")
    virtual = VirtualRun(topology, trace=trace, record=record, progress=progress)
    run = LiveRun(virtual, cluster, phases)
    generators: list[AnyProgram] = []
    try:
        view: Run = run
        generators = [program(view) for program in programs]
        virtual.outcome.results = tuple(drive(run, generators, run.read))
    except OutOfMemory as error:
        virtual.out_of_memory(error)
    finally:
        for generator in generators:
            generator.close()
    run.finish()
    virtual.outcome.wall_s = wall_clock_s() - started
    return virtual.outcome
