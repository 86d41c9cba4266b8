"""Runs programs in this process: values from torch, time from the virtual clock, and no node.

A local run submits every plan to the virtual executor, as a live run does, and computes its values at once with the
kernels that nodes have. A program therefore sees the tickets, delays, cancellations and full tiers of any other
executor, and a strategy is tested in milliseconds. What only processes show is not here: queues that really run beside
each other, bytes on a wire, flash that survives.

torch is imported by the first run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan, prod
from typing import TYPE_CHECKING

import numpy as np

from controller.clock import wall_clock_s
from controller.errors import KernelFailed, OutOfMemory
from controller.execute.critical import PathRecord
from controller.execute.outcome import Outcome
from controller.execute.trace import Trace
from controller.execute.virtual import VirtualRun
from controller.plan.bound import bind_kernel
from controller.plan.extents import describe
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Plan, Transfer, View
from controller.plan.size import Bindings, bind_size
from controller.program.drive import drive
from controller.program.run import Array, Content, ProgramFunction, ProgressSink
from controller.program.waits import Completion, Ticket
from controller.topology.schema import Topology
from node.errors import DtypeMismatch, NodeError, ShapeMismatch
from node.hardware.operation import ITEM_BYTES
from node.hardware.operations import complete_attributes, operation

if TYPE_CHECKING:
    from torch import Tensor

_BITS = {"bf16": "uint16", "fp8": "uint8"}
"""Element types that numpy lacks, and the unsigned integers that a program sees instead, as from a node."""


class LocalMemory:
    """Buffers as tensors of this process, and the ops of plans on them.

    What nobody wrote is not a number in floating-point buffers and -1 in integer ones, so that an op that reads it
    shows in the values.

    Attributes:
        read_bytes, written_bytes: what transfers have taken out of and put into every tier [bytes].
    """

    def __init__(self, *, blank: float = nan, backwards: bool = False) -> None:
        """Makes an empty memory.

        Args:
            blank: what buffers that were declared as written hold before somebody writes them.
            backwards: run the ops of a plan in the order that is furthest from program order among those that its
                edges allow, so that a missing edge shows in the values.
        """
        self.blank, self.backwards = blank, backwards
        self.read_bytes: dict[tuple[str, str], int] = {}
        self.written_bytes: dict[tuple[str, str], int] = {}
        self._tensors: dict[Buffer, Tensor] = {}
        self._checked: dict[object, None] = {}

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Every buffer that is there, in the order of allocation."""
        return tuple(self._tensors)

    def place(self, buffer: Buffer, content: Array | None = None, *, written: bool = False) -> None:
        """Allocates `buffer`; with `written` and no content it holds `blank`."""
        import torch

        from node.compute.dtypes import torch_dtype

        tensor = self._tensors[buffer] = torch.empty(buffer.shape, dtype=torch_dtype(buffer.dtype))
        if content is not None:
            self.write(buffer, content)
        else:
            _fill(tensor, self.blank if written else nan)

    def release(self, buffer: Buffer) -> None:
        """Forgets `buffer`."""
        del self._tensors[buffer]

    def write(self, buffer: Buffer, content: Array) -> None:
        """Replaces what `buffer` holds.

        Args:
            buffer: where.
            content: as many elements of the buffer's type; for bf16 either its bits (uint16) or fp32, rounded to
                nearest even.

        Raises:
            DtypeMismatch, ShapeMismatch: content of another type or size.
        """
        import torch

        tensor = self._tensors[buffer]
        if content.size != tensor.numel():
            raise ShapeMismatch(
                f"{buffer} has the shape {buffer.shape}, its content {content.shape}; give it {tensor.numel()} elements"
            )
        if buffer.dtype == "bf16" and content.dtype == np.float32:
            rounded = torch.from_numpy(np.array(content)).to(torch.bfloat16)
            tensor.copy_(rounded.reshape(buffer.shape))
            return
        there = _as_numpy(tensor, buffer.dtype)
        if content.dtype != there.dtype:
            raise DtypeMismatch(
                f"{buffer} holds {buffer.dtype}, written as {there.dtype}; the array is {content.dtype}; "
                f"convert it first"
            )
        np.copyto(there.reshape(-1), content.reshape(-1))

    def read(self, what: Buffer | View) -> Array:
        """A copy of the values of a buffer or view; bf16 and fp8 as their bits."""
        view = what.view() if isinstance(what, Buffer) else what
        return _as_numpy(self._tensor(view, {}), view.buffer.dtype).copy()

    def run(self, plan: Plan, bindings: Bindings) -> None:
        """Carries out the ops of `plan` one after the other.

        Raises:
            KernelFailed: operands that an operation refuses, or values that it cannot take.
        """
        for index in _backwards(plan) if self.backwards else range(len(plan.ops)):
            op = plan.ops[index]
            if isinstance(op, Kernel):
                try:
                    self._launch(op, bindings)
                except NodeError as error:
                    text = f"plan {plan.name!r}, {describe(op)} at {op.device}: {type(error).__name__}: {error}"
                    raise KernelFailed(text, op.device, plan.name, describe(op)) from error
            elif isinstance(op, Transfer):
                self._move(op, bindings)
            elif isinstance(op, Alloc):
                self.place(op.buffer)
            else:
                assert isinstance(op, Free)
                self.release(op.buffer)

    def _launch(self, op: Kernel, bindings: Bindings) -> None:
        from node.compute.kernels import run

        bound = bind_kernel(op, bindings)
        if bound.form not in self._checked:
            bound.check()
            self._checked[bound.form] = None
        sources, results = ([self._tensor(view, bindings) for view in views] for views in (op.inputs, op.outputs))
        run(op.op, sources, results, bound.attributes)

    def _move(self, op: Transfer, bindings: Bindings) -> None:
        """Copies bytes, whatever the types at both ends; several sources are added up on the way."""
        from node.compute.kernels import run

        sources = [self._tensor(view, bindings) for view in op.sources]
        targets = [self._tensor(view, bindings) for view in op.destinations]
        _count(self.read_bytes, op.sources, sources)
        _count(self.written_bytes, op.destinations, targets)
        moved = sources[0]
        if len(sources) > 1:
            moved = sources[0].clone().reshape(-1)
            attributes = complete_attributes(operation("reduce"), {"kind": op.reduction})
            run("reduce", [source.reshape(-1) for source in sources], [moved], attributes)
        moved = _as_bytes(moved).clone()  # both ends may lie in one buffer
        for target in targets:
            _as_bytes(target).copy_(moved)

    def _tensor(self, view: View, bindings: Bindings) -> Tensor:
        whole = self._tensors[view.buffer]
        if view.shape is view.buffer.shape and not view.offset_bytes:
            return whole
        shape = tuple(bind_size(extent, bindings) for extent in view.shape)
        start = bind_size(view.offset_bytes, bindings) // ITEM_BYTES[view.buffer.dtype]
        return whole.view(-1)[start : start + prod(shape)].view(shape)


class LocalRun(VirtualRun):
    """This process as programs see it; implements `Run`.

    Attributes:
        memory: what the buffers hold.
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
        computed = self._computed[ticket.number] = self.plan_of(ticket), dict(bindings)
        self.memory.run(*computed)
        return ticket

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


def _fill(tensor: Tensor, value: float) -> None:
    """Fills with `value`; of what has no such number, every bit is set: -1, or what is not a number."""
    import torch

    if tensor.dtype == torch.bool:
        tensor.fill_(value != 0)
    elif tensor.is_floating_point() and tensor.element_size() > 1:
        tensor.fill_(value)
    elif value != value:
        _as_bytes(tensor).fill_(255)
    else:
        tensor.copy_(torch.full(tensor.shape, value).to(tensor.dtype))


def _as_bytes(tensor: Tensor) -> Tensor:
    import torch

    return tensor.view(-1).view(torch.uint8)


def _as_numpy(tensor: Tensor, dtype: str) -> Array:
    """The same memory as an array."""
    import torch

    array: Array = (tensor.view(getattr(torch, _BITS[dtype])) if dtype in _BITS else tensor).numpy()
    return array


def _count(into: dict[tuple[str, str], int], views: Iterable[View], tensors: Iterable[Tensor]) -> None:
    for view, tensor in zip(views, tensors, strict=True):
        key = view.buffer.device, view.buffer.tier
        into[key] = into.get(key, 0) + tensor.nbytes


def _backwards(plan: Plan) -> list[int]:
    """The ops of a plan from the last that may run to the first, as far as its edges allow."""
    missing = [len(set(after)) for after in plan.after]
    followers: list[list[int]] = [[] for _ in plan.ops]
    for index, after in enumerate(plan.after):
        for before in set(after):
            followers[before].append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        order.append(ready.pop(ready.index(max(ready))))
        for index in followers[order[-1]]:
            missing[index] -= 1
            if missing[index] == 0:
                ready.append(index)
    return order
