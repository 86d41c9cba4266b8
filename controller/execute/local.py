"""Runs programs in this process: values from torch, time from the virtual clock, and no node.

A local run submits every plan to the virtual executor, as a live run does, and computes its values at once with the
kernels that nodes have. A program therefore sees the tickets, delays, cancellations and full tiers of any other
executor, and a strategy is tested in milliseconds. What only processes show is not here: queues that really run beside
each other, bytes on a wire, flash that survives.

torch is imported by the first run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from controller.clock import wall_clock_s
from controller.errors import OutOfMemory
from controller.execute.corruption import Corruption
from controller.execute.critical import PathRecord
from controller.execute.local_memory import LocalMemory
from controller.execute.outcome import Outcome
from controller.execute.trace import Trace
from controller.execute.virtual import VirtualRun
from controller.plan.ops import Buffer, Plan, View
from controller.program.drive import drive
from controller.program.run import Array, Content, ProgramFunction, ProgressSink
from controller.program.waits import Completion, Ticket
from controller.topology.schema import Topology


class LocalRun(VirtualRun):
    """This process as programs see it; implements `Run`.

    Attributes:
        memory: what the buffers hold.
        corruption: faults that change values.
    """

    live = True

    def __init__(
        self,
        topology: Topology,
        *,
        trace: Trace | None = None,
        record: PathRecord | None = None,
        progress: ProgressSink | None = None,
        blank: float = 0.0,
        backwards: bool = False,
    ) -> None:
        """Makes a run without a plan; arguments as of `run_local`."""
        super().__init__(topology, trace=trace, record=record, progress=progress)
        self.memory = LocalMemory(blank=blank, backwards=backwards)
        self.corruption = Corruption(topology)
        self.memory.passing = self.corruption.strike
        self._computed: dict[int, tuple[Plan, Mapping[str, int]]] = {}
        self._last: tuple[Plan, Mapping[str, int]] | None = None

    def place(self, buffer: Buffer, content: Content = None, *, written: bool = False) -> None:
        """Allocates `buffer` with its content, both outside of time."""
        super().place(buffer, content, written=written)
        self.memory.place(buffer, _made(content), written=written)

    def release(self, buffer: Buffer) -> None:
        """Gives `buffer` and what it holds back, outside of time."""
        super().release(buffer)
        self.memory.release(buffer)

    def write(self, buffer: Buffer, content: Content) -> None:
        """Replaces the content of a placed buffer, outside of time."""
        super().write(buffer, content)
        made = _made(content)
        if made is not None:
            self.memory.write(buffer, made)

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        """Starts `plan` on the virtual clock and computes what it gives.

        Raises:
            KernelFailed: an op refuses its operands.
        """
        ticket = super().submit(plan, **bindings)
        self.corruption.at(self.now)
        computed = self._computed[ticket.number] = self.plan_of(ticket), dict(bindings)
        self.memory.run(*computed)
        return ticket

    def read(self, view: View) -> Array:
        """The values of a view."""
        return self.memory.read(view)

    def watch(self, devices: Sequence[str]) -> None:
        """Does nothing: no node can die."""

    def cancel(self, ticket: Ticket) -> None:
        """Ends a plan now: its values stay where it has computed them, as on nodes; what it allocated goes."""
        made = self.made_by(ticket) if ticket.number in self._computed else ()
        super().cancel(ticket)
        kept = self.made_by(ticket) if made else ()
        for buffer in made:
            if buffer not in kept:
                self.memory.release(buffer)

    def repeat_ticket(self, done: Completion, times: int) -> Ticket:
        """A ticket that ends when the plan of `done` has run `times` more; it is computed every time."""
        ticket = super().repeat_ticket(done, times)
        assert self._last is not None, "a plan that has ended was computed"
        for _ in range(times):
            self.memory.run(*self._last)
        return ticket

    def advance(self, tickets: Sequence[int]) -> list[Completion]:
        """Lets virtual time pass until at least one of the tickets has ended, and says which."""
        ended = super().advance(tickets)
        for completion in ended:
            self._last = self._computed.pop(completion.ticket.number, self._last)
        return ended

    def run(self, programs: Sequence[ProgramFunction]) -> Outcome:
        """Runs programs until all have ended; arguments, result and errors as of `run_local`."""
        started = wall_clock_s()
        try:
            with one_thread():
                self.outcome.results = tuple(drive(self, [program(self) for program in programs], self.memory.read))
        except OutOfMemory as error:
            self.out_of_memory(error)
        self.finish()
        if self.corruption.changed:
            self.outcome.notes.append(
                f"{self.corruption.changed} transfers were changed in one bit by faults, and no error says so"
            )
        self.outcome.wall_s = wall_clock_s() - started
        return self.outcome


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute in one thread, as on a node.

    Handing thousands of small kernels to threads takes longer than they do, and the order of sums would be that of the
    machine.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_local(
    topology: Topology,
    programs: Sequence[ProgramFunction],
    *,
    trace: Trace | None = None,
    record: PathRecord | None = None,
    progress: ProgressSink | None = None,
    blank: float = 0.0,
    backwards: bool = False,
) -> Outcome:
    """Runs programs in this process until all have ended.

    Args:
        topology: the declared cluster.
        programs: each is called with the run and gives its generator.
        trace: filled with the virtual timeline when given.
        record: filled from the virtual timeline when given.
        progress: called with (done, total, what).
        blank: what buffers that are placed as written, without content, hold.
        backwards: see `LocalMemory`.

    Returns:
        The outcome; running out of memory is one of them, not an exception.

    Raises:
        UserError: a plan or name that cannot be executed.
        KernelFailed: an op refuses its operands.
        Deadlock: nothing can go on.
    """
    run = LocalRun(topology, trace=trace, record=record, progress=progress, blank=blank, backwards=backwards)
    return run.run(programs)


def _made(content: Content) -> Array | None:
    made = content() if callable(content) else content
    return None if made is None else np.asarray(made)
