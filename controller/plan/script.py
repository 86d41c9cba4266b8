"""Scripts: plans written as values, not as destinations.

    s = Script("step")
    h = s.op("rms_norm", x, weights["norm"], eps=1e-5)      # a value on the device of its first value
    q = s.move(s.op("linear", h, weights["q"]), Place("csd", "dram"), "send q")
    plan = s.plan()

An op makes values, a move makes one elsewhere; shapes and types come from the operation table. Addresses are found at
the end (`lowering.py`), by an arena for each place, type and micro-batch. Ops are emitted in the author's order, since
queues are in order. Buffers that have a home (weights, caches, states) stay buffers.

One arena holds one element type: the type of a view is that of its buffer, on the wire too, and what a step keeps in
other types (token ids, log-sum-exps) is a few kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from controller.plan import misuse
from controller.plan.author import Line, author, refuse
from controller.plan.build import Operand
from controller.plan.emitted import Launch, Move
from controller.plan.emitted import Operand as Noted
from controller.plan.live_ranges import LiveRanges
from controller.plan.lowering import Arenas, lower
from controller.plan.operands import operands, place_of
from controller.plan.ops import Buffer, OpAttribute, Plan, View
from controller.plan.signature import Kind, Kinds, Signatures
from controller.plan.size import Size
from controller.plan.value import Place, Value
from node.errors import NodeError

__all__ = ["Arenas", "Place", "Script", "Source", "Value"]

Source = Value | Operand


class Script:
    """Collects ops over values; `plan` gives the values addresses and derives the edges.

    Attributes:
        name: of the plan.
        arenas: buffers of the values; place them before the plan is submitted.
    """

    def __init__(self, name: str, arenas: Arenas | None = None, bounds: Mapping[str, int] | None = None) -> None:
        """A script without ops.

        Args:
            name: of the plan.
            arenas: shared with scripts whose plans never run at the same time; None for arenas of its own.
            bounds: largest number of every open size that a value has.
        """
        if arenas is None:
            misuse.check_script_name(name)
            arenas = Arenas(f"{name.replace(' ', '_')}.values")
        misuse.check_bounds(bounds or {})
        self.name = name
        self._microbatch: int | str = 0
        self.arenas = arenas
        self._signatures = Signatures(bounds or {})
        self._lifetimes = LiveRanges(self, self._signatures)
        self._emitted: list[Launch | Move] = []
        self._whole: dict[int, View] = {}
        """Whole views of buffers, by identity; the view keeps its buffer alive."""
        self._written: dict[Buffer, None] = {}
        self._suffix: str | None = None
        self._ended = False

    @property
    def microbatch(self) -> int | str:
        """Values made from now on lie in the arena of this one (a number, or a name where `staging` chose it).

        Sharing would add edges between micro-batches.
        """
        return self._microbatch

    @microbatch.setter
    def microbatch(self, microbatch: int | str) -> None:
        misuse.check_name("micro-batch", str(microbatch) if isinstance(microbatch, int) else microbatch)
        self._microbatch = microbatch

    @property
    def emitted(self) -> Sequence[Launch | Move]:
        """The ops so far, over values."""
        return self._emitted

    @property
    def count(self) -> int:
        """Number of ops so far: the index of the next one, for `after`."""
        return len(self._emitted)

    def op(
        self,
        op: str,
        *inputs: Source,
        on: Place | None = None,
        out: Source | Sequence[Source | None] | None = None,
        makes: Sequence[Kind] | None = None,
        queue: str = "",
        label: str = "",
        after: Iterable[int] = (),
        in_place: bool = False,
        **attributes: OpAttribute,
    ) -> Value:
        """Emits a kernel and returns its first result; for an `out` that is a buffer, a value is not made.

        Args:
            op: name in the operation table.
            inputs: values and buffers in the order of the table.
            on: where it runs and its results lie; None for the place of its first value.
            out: buffers or `empty` values to write, instead of making values; None among several makes that one.
            makes: element type and extents of each result, where the table cannot derive them.
            queue, label, attributes: as `Kernel` has them.
            after: indices of further ops that it follows.
            in_place: the first result may take the bytes of an input that no later op uses.

        Raises:
            BadPlan: wrong use; names the line of the strategy.
        """
        return self.results(
            op, *inputs, on=on, out=out, makes=makes, queue=queue, label=label, after=after, in_place=in_place,
            **attributes,
        )[0]  # type: ignore[return-value]  # fmt: skip

    def results(
        self,
        op: str,
        *inputs: Source,
        on: Place | None = None,
        out: Source | Sequence[Source | None] | None = None,
        makes: Sequence[Kind] | None = None,
        queue: str = "",
        label: str = "",
        after: Iterable[int] = (),
        in_place: bool = False,
        **attributes: OpAttribute,
    ) -> tuple[Value | View, ...]:
        """Emits a kernel and returns all its results; the arguments are those of `op`."""
        if not (type(op) is type(queue) is type(label) is str):
            misuse.check_texts(op, queue, label)
        place = place_of(op, inputs) if on is None else misuse.check_place(op, on)
        sources, kinds = self._sources(op, inputs, place)
        written: tuple[Noted, ...] | None = None
        decided = None if makes is None else misuse.check_kinds(op, makes)
        missing: list[int] = []
        line = author()
        if out is not None:
            outs = misuse.check_outs(op, out)
            written, decided = self._sources(op, [each for each in outs if each is not None], place)
            missing = [index for index, each in enumerate(outs) if each is None]
        try:
            if missing:
                derived = self._signatures.results(op, kinds, None, attributes)
                misuse.check_count(op, len(outs), len(derived))
                for index in missing:
                    assert decided is not None and written is not None
                    decided = (*decided[:index], derived[index], *decided[index:])
                    made = self._make(place, derived[index : index + 1], line)
                    written = (*written[:index], *made, *written[index:])
            results = self._signatures.results(op, kinds, decided, attributes)
            outputs = self._make(place, results, line, needed=1) if written is None else written
        except NodeError as error:
            refuse(str(error))
        except TypeError:
            misuse.check_attributes(op, attributes)
            raise
        if self._suffix is not None:
            label = (label or op) + self._suffix
        self._note(
            Launch(op, place.device, sources, outputs, attributes, queue, label, self._after(after), in_place, line)
        )
        return outputs

    def move(
        self,
        source: Source,
        to: Place | Source,
        label: str = "",
        *,
        queue: str = "",
        path: str = "",
        rate_limit_bytes_per_s: float = 0.0,
        connection: str = "",
        after: Iterable[int] = (),
    ) -> Value:
        """Emits a transfer; returns the value at its new place, or `to` where that is a buffer or an `empty` value.

        Those of one `connection` between two devices arrive in the order in which they are emitted.

        Raises:
            BadPlan: a value belongs to another script.
        """
        return self.transfer(
            (source,), (to,), label, queue=queue, path=path, rate_limit_bytes_per_s=rate_limit_bytes_per_s,
            connection=connection, after=after,
        )[0]  # type: ignore[return-value]  # fmt: skip

    def transfer(
        self,
        sources: Sequence[Source],
        to: Sequence[Place | Source],
        label: str = "",
        *,
        queue: str = "",
        path: str = "",
        rate_limit_bytes_per_s: float = 0.0,
        reduction: str = "",
        connection: str = "",
        after: Iterable[int] = (),
    ) -> tuple[Value | View, ...]:
        """Emits a transfer with several sources (a reduction) or destinations (a multicast), as `Transfer` has it."""
        if not (type(queue) is type(label) is str):
            misuse.check_texts("move", queue, label)
        misuse.check_lists(sources, to)
        ins, kinds = self._sources("move", sources, None)
        outs: list[Noted] = []
        line = author()
        try:
            for target in to:
                if isinstance(target, Place):
                    outs += self._make(target, kinds[:1], line)
                else:
                    misuse.check_target(target)
                    taken, (kind,) = self._sources("move", (target,), None)
                    if kind != kinds[0]:
                        misuse.check_bytes(kinds[0], kind)
                    outs += taken
        except NodeError as error:
            refuse(str(error))
        outputs = tuple(outs)
        limit = rate_limit_bytes_per_s
        self._note(Move(ins, outputs, reduction, queue, path, limit, label, self._after(after), connection, line))
        return outputs

    def empty(
        self, place: Place, dtype: str, shape: tuple[Size, ...], *, spare: bool = False, partial: bool = False
    ) -> Value:
        """A value that ops fill part by part, each with a part of it as `out`.

        Args:
            place, dtype, shape: of the value.
            spare: it may stay unused.
            partial: ops may read parts that no op has filled, where only the time of moving them counts.
        """
        misuse.check_place("empty", place)
        kind = misuse.check_kind("empty", (dtype, shape))
        try:
            (made,) = self._make(place, (kind,), author(), needed=0 if spare else 1)
        except NodeError as error:
            refuse(str(error))
        self._lifetimes.empty(made, partial=partial)
        return made

    def keep(self, values: Iterable[Value]) -> None:
        """Keeps the bytes of `values` from being reused before the next op, so that reuse adds no edge."""
        self._lifetimes.keep(values)

    def drop(self, value: Value) -> None:
        """Declares that no op reads `value`: only the time of making it counts."""
        self._lifetimes.drop(value)

    @contextmanager
    def labelled(self, suffix: str = "") -> Iterator[None]:
        """Kernels of the body that have no label are labelled by their operation; `suffix` follows every label."""
        before, self._suffix = self._suffix, suffix
        try:
            yield
        finally:
            self._suffix = before

    @contextmanager
    def staging(self, name: str, turn: int, turns: int = 2) -> Iterator[None]:
        """Gives values of the body their own memory, reused at the same turn: one may leave while the next is made.

        None of them takes the bytes of another that has left, whose transfer it would have to wait for.
        """
        misuse.check_turns(name, turn, turns)
        before, self.microbatch = self.microbatch, f"{self.microbatch}.{name}.{turn % turns}"
        first = len(self._lifetimes.made)
        try:
            yield
        finally:
            self.microbatch = before
            self._lifetimes.hold_from(first)

    def plan(self) -> Plan:
        """The plan of all ops so far; the script ends with it.

        Raises:
            BadPlan: a value that no op uses, or makes; names the line that made it.
        """
        made = self._lifetimes.check()
        self._ended = True
        return lower(self.name, self._emitted, made, self._written, self.arenas)

    def _sources(self, op: str, given: Sequence[Source], place: Place | None) -> tuple[tuple[Noted, ...], Kinds]:
        """Operands as values and views, with their types."""
        return operands(self, op, given, place, self._whole)

    def _make(
        self, place: Place, kinds: Iterable[Kind], line: Line | None, needed: int | None = None
    ) -> tuple[Value, ...]:
        return self._lifetimes.make(place, self.microbatch, kinds, line, needed)

    def _after(self, after: Iterable[int]) -> tuple[int, ...]:
        return () if after == () else misuse.check_after(after, len(self._emitted))

    def _note(self, emitted: Launch | Move) -> None:
        if self._ended:
            refuse(f"the plan of script {self.name!r} has been made; emit all ops before, or begin another script")
        self._lifetimes.note(emitted)
        for each in emitted.outputs:
            if type(each) is View:
                self._written[each.buffer] = None
        self._emitted.append(emitted)
