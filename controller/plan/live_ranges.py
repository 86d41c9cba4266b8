"""From which op to which a value lives, while a script is written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from controller.errors import BadPlan
from controller.plan import misuse
from controller.plan.author import Line, at, refuse
from controller.plan.emitted import Launch, Made, Move
from controller.plan.signature import Kind, Signatures
from controller.plan.size import Affine
from controller.plan.value import Place, Value
from node.hardware.operation import ITEM_BYTES


class LiveRanges:
    """The values of one script.

    Attributes:
        made: the values, by number.
        ops: number of ops so far.
    """

    def __init__(self, script: object, signatures: Signatures) -> None:
        self._script, self._signatures = script, signatures
        self.made: list[Made] = []
        self.ops = 0

    def make(
        self, place: Place, microbatch: int | str, kinds: Iterable[Kind], line: Line | None, needed: int | None
    ) -> tuple[Value, ...]:
        """New values of `kinds` in `place`, made by the next op, which `line` wrote.

        Args:
            place, microbatch, kinds, line: of the values.
            needed: how many of them, the first ones, have to be used; None for all.

        Raises:
            ShapeMismatch: an open extent without a bound.
        """
        index, values = self.ops, list[Value]()
        most = sys.maxsize if needed is None else needed
        for position, (dtype, shape) in enumerate(kinds):
            nbytes, is_open = ITEM_BYTES[dtype], False
            for extent in shape:
                if isinstance(extent, Affine):
                    is_open = True
                    extent = self._signatures.bound(extent)
                nbytes *= extent
            values.append(Value(self._script, len(self.made), place, dtype, shape))
            arena = place, dtype, microbatch
            self.made.append(Made(arena, nbytes, is_open, index, index, line, position >= most))
        return tuple(values)

    def note(self, emitted: Launch | Move) -> None:
        """Notes the uses of the next op.

        Raises:
            BadPlan: it reads an empty value that no op has filled.
        """
        index, made = self.ops, self.made
        for each in emitted.inputs:
            if type(each) is Value:
                entry = made[each.number]
                if entry.last < 0:
                    refuse("an empty value is read before any op has filled it; fill it with out= or move, then read")
                entry.last, entry.used = index, True
                if each.offset_bytes:
                    entry.parted = True
        for each in emitted.outputs:
            if type(each) is Value:
                entry = made[each.number]
                if entry.first != index or entry.last != index or each.offset_bytes:  # empty, or a part written later
                    entry.parted = True
                    if entry.last < 0:
                        entry.first = index
                    entry.last = max(entry.last, index)
        self.ops += 1

    def empty(self, value: Value, *, partial: bool = False) -> None:
        """Says that no op has filled `value` yet, and whether one has to fill all of it."""
        self.made[value.number].last, self.made[value.number].partial = -1, partial

    def keep(self, values: Iterable[Value]) -> None:
        """Lets `values` live up to the last op so far."""
        for value in misuse.check_values(values):
            misuse.check_own(self._script, "keep", value)
            self._hold(self.made[value.number])

    def drop(self, value: Value) -> None:
        """Lets `value` stay unread."""
        misuse.check_own(self._script, "drop", value)
        self.made[value.number].used = True

    def hold_from(self, first: int) -> None:
        """Lets the values from number `first` on live up to the last op so far."""
        for entry in self.made[first:]:
            self._hold(entry)

    def check(self) -> Sequence[Made]:
        """The values, once the script is complete.

        Raises:
            BadPlan: a value that no op uses, or fills; names the line that made it.
        """
        for entry in self.made:
            if entry.spare:
                continue
            if entry.last < 0:
                raise BadPlan(at(entry.line, "no op fills the empty value made here; write it, or remove it"))
            if not entry.used:
                raise BadPlan(at(entry.line, "the value made here is never used; use it, or remove the op"))
        return self.made

    def _hold(self, entry: Made) -> None:
        if entry.last >= 0:
            entry.last = max(entry.last, self.ops - 1)
