"""Do bytes arrive that were sent, and does every tier hold at the end what was placed in it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from controller.conformance.toys import Toy
from controller.execute.outcome import Outcome
from controller.execute.virtual import VirtualRun
from controller.plan.bound import view_bytes
from controller.plan.ops import Buffer, Kernel, Plan, Transfer
from controller.program.drive import drive
from controller.program.run import Content, Run
from controller.program.waits import Completion, Repeat, Ticket

READ, WRITE = "read", "write"


class _Ledger:
    """A run that keeps books of its own on what passes: bytes that plans move, and buffers that are placed."""

    def __init__(self, run: VirtualRun) -> None:
        self._run = run
        self._last: tuple[Plan, Mapping[str, int]] | None = None
        self.crossing: Counter[tuple[str, str]] = Counter()
        self.far: set[str] = set()
        self.placed: Counter[tuple[str, str]] = Counter()
        self.read_bytes = 0
        self.written_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def place(self, buffer: Buffer, content: Content = None, *, written: bool = False) -> None:
        self._run.place(buffer, content, written=written)
        self.placed[buffer.device, buffer.tier] += buffer.nbytes

    def release(self, buffer: Buffer) -> None:
        self._run.release(buffer)
        self.placed[buffer.device, buffer.tier] -= buffer.nbytes

    def submit(self, plan: Plan, **bindings: int) -> Ticket:
        ticket = self._run.submit(plan, **bindings)
        self._last = plan, bindings
        self._add(plan, bindings, 1)
        return ticket

    def repeat(self, done: Completion, times: int) -> Repeat:
        assert self._last is not None, "a plan that has ended was submitted"
        self._add(*self._last, times)
        return self._run.repeat(done, times)

    def _add(self, plan: Plan, bindings: Mapping[str, int], times: int) -> None:
        for op in plan.ops:
            if isinstance(op, Kernel):
                far = [view.buffer.device for view in (*op.inputs, *op.outputs) if view.buffer.device != op.device]
                self.far.update((op.device, *far) if far else ())
            elif isinstance(op, Transfer):
                self._move(op, bindings, times)

    def _move(self, op: Transfer, bindings: Mapping[str, int], times: int) -> None:
        sources, targets = ({view.buffer.device for view in views} for views in (op.sources, op.destinations))
        for views, others, side in ((op.sources, targets, READ), (op.destinations, sources, WRITE)):
            for view in views:
                size = times * view_bytes(view, bindings)
                self.read_bytes += size if side == READ else 0
                self.written_bytes += size if side == WRITE else 0
                if others - {view.buffer.device}:
                    self.crossing[view.buffer.device, side] += size


def lost_bytes(toy: Toy) -> list[str]:
    """Complaints about a run of `toy` on the virtual clock.

    The ports of a device carry out what plans read there for others, and in what plans write there from others; with
    kernels that load and store on another device they carry more. At the end every tier holds what the program placed
    and did not release.
    """
    run = VirtualRun(toy.topology)
    books = _Ledger(run)
    drive(run, [toy.program()(cast(Run, books))], lambda view: None)
    run.finish()
    complaints = _wrong_ports(toy, books, run.outcome)
    for key in sorted({*books.placed, *run.occupancy.used_bytes}):
        there, placed = run.occupancy.used_bytes.get(key, 0), books.placed[key]
        if there != placed:
            complaints.append(f"{'.'.join(key)} holds {there} bytes at the end, of which the program placed {placed}")
    return complaints


def _wrong_ports(toy: Toy, books: _Ledger, outcome: Outcome) -> list[str]:
    carried: Counter[tuple[str, str]] = Counter()
    for use in outcome.resources:
        device, _, rest = use.name.partition(".")
        side = rest.rpartition(".")[2]
        if use.kind == "port" and use.unit == "bytes" and side in (READ, WRITE):
            carried[device, side] += round(use.amount)
    complaints: list[str] = []
    for name in toy.topology.devices:
        for side in (READ, WRITE):
            moved, seen = books.crossing[name, side], carried[name, side]
            if seen != moved and not (name in books.far and seen > moved):
                complaints.append(f"the ports of {name} carried {seen} bytes ({side}), plans moved {moved}")
    return complaints


def wrongly_copied_bytes(toy: Toy) -> list[str]:
    """Complaints about a run with values: what was copied out of tiers, into tiers, and what lies there at the end."""
    from controller.conformance.values import local_experiment
    from controller.execute.local import LocalRun

    scenario = local_experiment(toy).scenario
    run = LocalRun(toy.topology)
    books = _Ledger(run)
    outcome = run.run([lambda _: toy.program(scenario=scenario)(cast(Run, books))])
    complaints = [] if outcome.ok else [f"the run ended with: {outcome.ended}"]
    for done, meant, what in (
        (run.memory.read_bytes, books.read_bytes, "out of"),
        (run.memory.written_bytes, books.written_bytes, "into"),
    ):
        if sum(done.values()) != meant:
            complaints.append(f"{sum(done.values())} bytes were copied {what} tiers, and plans move {meant}")
    there: Counter[tuple[str, str]] = Counter()
    for buffer in run.memory.buffers:
        there[buffer.device, buffer.tier] += buffer.nbytes
    if there != +books.placed:
        complaints.append(f"memory holds {dict(there)} at the end, of which the program placed {dict(+books.placed)}")
    return complaints
