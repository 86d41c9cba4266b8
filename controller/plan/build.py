"""Builds plans: ops in program order, edges from what they read and write.

    build = PlanBuilder("scale")
    x = Buffer("gpu", "hbm", "x", "fp32", (4, 8))
    y = Buffer("gpu", "hbm", "y", "fp32", (4, 8))
    build.kernel("activation", "gpu", [x], [y], kind="relu")
    plan = build.plan()

Program order is a valid serial execution; the edges allow every overlap that keeps its values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.plan.hazards import Hazards
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Op, OpAttribute, Origin, Plan, Transfer, View, vouched
from controller.plan.size import Affine

Operand = Buffer | View


def as_view(operand: Operand) -> View:
    """A buffer as its whole view; a view as it is."""
    return operand.view() if isinstance(operand, Buffer) else operand


class PlanBuilder:
    """Collects ops and derives their order.

    Args:
        name: of the plan.
        derives: whether edges follow from what ops read and write; else they are those of `after` alone, and the plan
            is checked before it runs.
    """

    def __init__(self, name: str, *, derives: bool = True) -> None:
        self.name, self._derives = name, derives
        self._ops: list[Op] = []
        self._after: list[tuple[int, ...]] = []
        self._parameters: dict[str, None] = {}
        self._hazards = Hazards()

    @property
    def count(self) -> int:
        """Ops so far; the next one gets this index."""
        return len(self._ops)

    def kernel(
        self,
        op: str,
        device: str,
        inputs: Sequence[Operand],
        outputs: Sequence[Operand],
        *,
        queue: str = "",
        label: str = "",
        after: Iterable[int] = (),
        **attributes: OpAttribute,
    ) -> int:
        """Adds a launch of `op` on `device` and returns its index."""
        ins, outs = tuple(map(as_view, inputs)), tuple(map(as_view, outputs))
        for value in attributes.values():
            if isinstance(value, Affine):
                self._parameters[value.symbol] = None
            elif isinstance(value, tuple):
                self._note_open(value)
        return self._add(Kernel(op, device, ins, outs, attributes, queue, label), ins, outs, after)

    def transfer(
        self,
        source: Operand | Sequence[Operand],
        destination: Operand | Sequence[Operand],
        *,
        queue: str = "",
        path: str = "",
        rate_limit_bytes_per_s: float = 0.0,
        reduction: str = "",
        label: str = "",
        connection: str = "",
        after: Iterable[int] = (),
    ) -> int:
        """Adds a transfer and returns its index. One operand or several on either side; sizes must agree."""
        ins = tuple(map(as_view, [source] if isinstance(source, Buffer | View) else source))
        outs = tuple(map(as_view, [destination] if isinstance(destination, Buffer | View) else destination))
        op = Transfer(ins, outs, reduction, queue, path, rate_limit_bytes_per_s, label, connection)
        return self._add(op, ins, outs, after)

    def alloc(self, buffer: Buffer) -> int:
        """Adds an allocation of `buffer` and returns its index; every later access follows it."""
        return self._add(Alloc(buffer), (), (buffer.view(),), ())

    def free(self, buffer: Buffer, *, after: Iterable[int] = ()) -> int:
        """Adds the end of `buffer` and returns its index; it follows every access so far."""
        waits = set(after)
        index = len(self._ops)
        self._hazards.forget(index, buffer, waits)
        return self._append(Free(buffer), waits)

    def plan(self) -> Plan:
        """The plan so far; the builder may go on."""
        plan = Plan(self.name, tuple(self._ops), tuple(self._after), frozenset(self._parameters))
        return vouched(plan, Origin.BUILDER) if self._derives else plan

    def _add(self, op: Op, inputs: tuple[View, ...], outputs: tuple[View, ...], after: Iterable[int]) -> int:
        index = len(self._ops)
        waits = set(after)
        for view in inputs:
            self._note_view(view)
            if self._derives:
                self._hazards.read(index, view, waits)
        for view in outputs:
            self._note_view(view)
            if self._derives:
                self._hazards.write(index, view, waits)
        waits.discard(index)
        return self._append(op, waits)

    def _append(self, op: Op, waits: set[int]) -> int:
        self._ops.append(op)
        self._after.append(tuple(sorted(waits)))
        return len(self._ops) - 1

    def _note_view(self, view: View) -> None:
        if isinstance(view.offset_bytes, Affine):
            self._parameters[view.offset_bytes.symbol] = None
        if view.shape is not view.buffer.shape:
            self._note_open(view.shape)

    def _note_open(self, sizes: tuple[object, ...]) -> None:
        for size in sizes:
            if isinstance(size, Affine):
                self._parameters[size.symbol] = None
