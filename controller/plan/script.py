"""Scripts: plans written as values, not as destinations.

    s = Script("step")
    h = s.op("rms_norm", x, weights["norm"], eps=1e-5)      # a value on the device of its first value
    q = s.move(s.op("linear", h, weights["q"]), Place("csd", "dram"), "send q")
    plan = s.plan()

An op makes values, a move makes one elsewhere; shapes and types come from the operation table. Where a value lies is
found at the end, by an arena for each place, type and micro-batch. Ops are emitted in the author's order, since queues
are in order. Buffers that have a home (weights, caches, states) stay buffers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

from controller.errors import BadPlan
from controller.plan.arena import Lifetime, assign
from controller.plan.build import Operand, PlanBuilder, as_view
from controller.plan.ops import Buffer, OpAttribute, Plan, View
from controller.plan.size import Affine
from node.errors import NodeError
from node.hardware.operation import ITEM_BYTES, AttributeValue, TensorType
from node.hardware.operations import operation
from node.hardware.operations.results import RESULTS, result_types


@dataclass(frozen=True, slots=True)
class Place:
    """A tier of a device."""

    device: str
    tier: str

    def __str__(self) -> str:
        return f"{self.device}.{self.tier}"


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that lives between two ops of one script.

    Attributes:
        number: of the value in its script; reshaped ones share it.
        place: where it lies.
        dtype, shape: of the tensor.
        script: whose it is.
    """

    number: int
    place: Place
    dtype: str
    shape: tuple[int, ...]
    script: Script

    def reshape(self, *shape: int) -> Value:
        """The same bytes under another shape.

        Raises:
            BadPlan: another number of elements.
        """
        if prod(shape) != prod(self.shape):
            _refuse(f"a value of shape {self.shape} cannot become {shape}; keep the number of elements")
        return Value(self.number, self.place, self.dtype, shape, self.script)


Source = Value | Operand


@dataclass(slots=True)
class _Made:
    """Bookkeeping of one value."""

    arena: tuple[Place, str, int]
    nbytes: int
    first: int
    last: int
    line: str
    spare: bool
    """A further result of an op, which nobody has to use."""


@dataclass(frozen=True, slots=True)
class _Emitted:
    """One op; `op` is "" for a move."""

    op: str
    device: str
    inputs: tuple[Value | View, ...]
    outputs: tuple[Value | View, ...]
    attributes: dict[str, Any]
    queue: str
    label: str
    path: str


class Script:
    """Collects ops over values; `plan` places the values and derives the edges.

    Attributes:
        microbatch: values made from now on lie in the arena of this one; sharing would add edges between micro-batches.
    """

    def __init__(self, name: str) -> None:
        self.name, self.microbatch = name, 0
        self._emitted: list[_Emitted] = []
        self._made: list[_Made] = []
        self._passed: dict[object, tuple[TensorType, ...]] = {}

    def op(
        self,
        op: str,
        *inputs: Source,
        on: Place | None = None,
        out: Operand | None = None,
        queue: str = "",
        label: str = "",
        **attributes: OpAttribute,
    ) -> Value | View:
        """Emits a kernel and returns its first result; an operation that makes several makes them all.

        Args:
            op: name in the operation table.
            inputs: values and buffers in the order of the table.
            on: where it runs and its results lie; None for the place of its first value.
            out: a buffer to write instead of making a value.
            queue, label, attributes: as `Kernel` has them.

        Raises:
            BadPlan: wrong use; names the line of the caller.
        """
        place = on or next((each.place for each in inputs if isinstance(each, Value)), None)
        if place is None:
            place = Place(inputs[0].device, inputs[0].tier) if inputs and isinstance(inputs[0], Buffer) else None
        if place is None:
            _refuse(f"{op} has no value among its operands, so nothing says where it runs; give on=Place(device, tier)")
        sources = tuple(self._source(op, each, place) for each in inputs)
        types = self._types(op, sources)
        written = None if out is None else as_view(out)
        try:
            results = self._results(op, types, written, attributes)
        except NodeError as error:
            _refuse(str(error))
        made: tuple[Value | View, ...] = (written,) if written is not None else self._make(place, results)
        self._emit(_Emitted(op, place.device, sources, made, attributes, queue, label, ""))
        return made[0]

    def move(self, value: Value, to: Place, label: str = "", *, queue: str = "", path: str = "") -> Value:
        """Emits a transfer and returns the value at its new place.

        Raises:
            BadPlan: `value` belongs to another script.
        """
        source = self._source("move", value, value.place)
        (made,) = self._make(to, (TensorType(value.shape, value.dtype),))
        self._emit(_Emitted("", value.place.device, (source,), (made,), {}, queue, label, path))
        return made

    def plan(self) -> Plan:
        """The plan of all ops so far, each value with its place.

        Raises:
            BadPlan: a value that no op uses; names the line that made it.
        """
        for made in self._made:
            if made.last == made.first and not made.spare:
                raise BadPlan(f"{made.line}: the value made here is never used; use it, or remove the op that makes it")
        where = self._arenas()

        def view(each: Value | View) -> View:
            if isinstance(each, View):
                return each
            buffer, offset = where[each.number]
            return View(buffer, offset, each.shape)

        build = PlanBuilder(self.name)
        for each in self._emitted:
            ins, outs = [view(source) for source in each.inputs], [view(made) for made in each.outputs]
            if each.op:
                build.kernel(each.op, each.device, ins, outs, queue=each.queue, label=each.label, **each.attributes)
            else:
                build.transfer(ins, outs, queue=each.queue, path=each.path, label=each.label)
        return build.plan()

    def _arenas(self) -> list[tuple[Buffer, int]]:
        members: dict[tuple[Place, str, int], list[int]] = {}
        for number, made in enumerate(self._made):
            members.setdefault(made.arena, []).append(number)
        where: dict[int, tuple[Buffer, int]] = {}
        for (place, dtype, microbatch), numbers in members.items():
            lives = [self._made[number] for number in numbers]
            room = assign([Lifetime(made.nbytes, made.first, made.last) for made in lives])
            name = f"{self.name.replace(' ', '_')}.values.{dtype}.{microbatch}"
            buffer = Buffer(place.device, place.tier, name, dtype, (room.nbytes // ITEM_BYTES[dtype],))
            where |= {number: (buffer, offset) for number, offset in zip(numbers, room.offsets, strict=True)}
        return [where[number] for number in range(len(self._made))]

    def _source(self, op: str, source: Source, place: Place) -> Value | View:
        if not isinstance(source, Value):
            if not isinstance(source, Buffer | View):
                _refuse(f"{op} got {source!r}; give values of this script, buffers or views of buffers")
            return as_view(source)
        if source.script is not self:
            _refuse(f"{op} uses a value before this script made it: it belongs to script {source.script.name!r}")
        if source.place.device != place.device:
            _refuse(f"{op} runs on {place.device}, but a value that it uses lies in {source.place}; move it first")
        return source

    def _types(self, op: str, sources: tuple[Value | View, ...]) -> tuple[TensorType, ...] | None:
        """Types of operands; None while a size is open."""
        found = []
        for each in sources:
            if isinstance(each, Value):
                found.append(TensorType(each.shape, each.dtype))
                continue
            shape = tuple(extent for extent in each.shape if not isinstance(extent, Affine))
            if len(shape) < len(each.shape):
                return None
            found.append(TensorType(shape, each.buffer.dtype))
        return tuple(found)

    def _results(
        self, op: str, types: tuple[TensorType, ...] | None, out: View | None, attributes: dict[str, OpAttribute]
    ) -> tuple[TensorType, ...]:
        """Types of the results, checked by the table as far as no size is open."""
        if types is None:
            if out is None:
                _refuse(f"{op} has an operand of open size, so its result has no size; give a buffer as out=")
            return ()
        target = None if out is None else self._types(op, (out,))
        # Layers repeat their launches: what the table let pass once, it lets pass again.
        key = op, types, target, out is None, repr(attributes)
        if key in self._passed:
            return self._passed[key]
        entry = operation(op)
        closed: dict[str, AttributeValue] = {}
        for name, value in attributes.items():
            if isinstance(value, Affine):
                continue
            if isinstance(value, tuple):
                numbers = tuple(item for item in value if not isinstance(item, Affine))
                if len(numbers) < len(value):
                    continue
                closed[name] = numbers
            else:
                closed[name] = value
        if out is None and op not in RESULTS:
            _refuse(f"{op} makes nothing of a size of its own; give a buffer as out=")
        results = result_types(op, types, closed) if out is None else (target or ())
        if len(closed) == len(attributes) and results:
            entry.check(types, results, closed)
        self._passed[key] = results
        return results

    def _make(self, place: Place, types: tuple[TensorType, ...]) -> tuple[Value, ...]:
        index, line, made = len(self._emitted), _caller(), []
        for position, kind in enumerate(types):
            made.append(Value(len(self._made), place, kind.dtype, kind.shape, self))
            arena = place, kind.dtype, self.microbatch
            self._made.append(_Made(arena, kind.nbytes, index, index, line, spare=position > 0))
        return tuple(made)

    def _emit(self, emitted: _Emitted) -> None:
        for each in emitted.inputs:
            if isinstance(each, Value):
                self._made[each.number].last = len(self._emitted)
        self._emitted.append(emitted)


def _caller() -> str:
    """File and line of the code outside of this module that is at work."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _refuse(what: str) -> NoReturn:
    """Raises BadPlan at the caller's line."""
    raise BadPlan(f"{_caller()}: {what}") from None
