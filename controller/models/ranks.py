"""Scripts over the ranks of a group: an op of the author stands for one on each rank.

    on = RankScript(s, places, add_up)
    x = on.op("linear", Ranks(own), Ranks(weights))     # a value on each rank

What an op takes is what each rank has of its operands, so that code for one device (`Block`) emits a whole group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from controller.plan.build import as_view
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size
from controller.plan.value import Place

AddUp = Callable[[Script, Sequence[Source]], Sequence[Source]]
"""Emits the sum of what each rank gives, on every rank."""
Part = TypeVar("Part")
Made = TypeVar("Made")


class Ranks(Value):
    """A value, or a weight, on each rank of a group; place, shape and type are those of the first rank.

    Attributes:
        each: by rank.
    """

    __slots__ = ("each",)

    def __init__(self, each: Sequence[Source]) -> None:
        first = each[0]
        if isinstance(first, Value):
            super().__init__(first.script, -1, first.place, first.dtype, first.shape)
        else:
            view = as_view(first)
            buffer = view.buffer
            super().__init__(None, -1, Place(buffer.device, buffer.tier), buffer.dtype, view.shape)
        self.each = tuple(each)

    @property
    def values(self) -> list[Value]:
        """By rank, where an op has made them."""
        return [own for own in self.each if isinstance(own, Value)]


class RankScript(Script):
    """A script in which an op stands for one on each rank, over the parts of its operands there.

    Attributes:
        inner: takes the ops.
        places: of the ranks.
        last: by rank, index of its last kernel.
    """

    def __init__(self, s: Script, places: Sequence[Place], add_up: AddUp) -> None:
        """The ranks of one group.

        Args:
            s: takes the ops.
            places: of the ranks.
            add_up: how sums over the ranks are made.
        """
        super().__init__(s.name, s.arenas)
        self.places, self.inner, self.last = tuple(places), s, [0] * len(places)
        self._add_up = add_up

    def results(self, op: str, *inputs: Source, out: Any = None, **given: Any) -> tuple[Any, ...]:
        """Emits a kernel on every rank; the arguments are those of `Script.results`."""
        inner, made = self.inner, []
        for rank in range(len(self.places)):
            own = [each.each[rank] if type(each) is Ranks else each for each in inputs]
            made.append(inner.results(op, *own, out=None if out is None else _of(out, rank), **given))
            self.last[rank] = inner.count - 1
        return tuple([Ranks(each) for each in zip(*made, strict=True)])

    def each(self, parts: Sequence[Part], emit: Callable[..., Made], *operands: Any) -> list[Made]:
        """By rank, what `emit` makes on `inner` of the element of `parts` and of the rank's part of each operand.

        For what depends on how much a rank has, since ranks may have unequal shares.
        """
        made = []
        for rank, part in enumerate(parts):
            made.append(emit(part, *(_of(operand, rank) for operand in operands)))
            self.last[rank] = self.inner.count - 1
        return made

    def empty(
        self, place: Place, dtype: str, shape: tuple[Size, ...], *, spare: bool = False, partial: bool = False
    ) -> Value:
        """An empty value on every rank."""
        empty = self.inner.empty
        return Ranks([empty(each, dtype, shape, spare=spare, partial=partial) for each in self.places])

    def add_up(self, partial: Value) -> Value:
        """The sum of what ranks have, on every rank."""
        assert isinstance(partial, Ranks), "ops of this script make values of all ranks"
        return Ranks(self._add_up(self.inner, partial.each)) if len(self.places) > 1 else partial

    @contextmanager
    def labelled(self, suffix: str = "") -> Iterator[None]:
        """As `Script.labelled`, on every rank."""
        with self.inner.labelled(suffix):
            yield


def weights_of_ranks(each: Sequence[Mapping[str, Source]]) -> dict[str, Any]:
    """Weights, or gradients, by name: those that every rank has, of all ranks as one."""
    return {name: Ranks([own[name] for own in each]) for name in each[0] if all(name in own for own in each)}


def _of(operand: Any, rank: int) -> Any:
    """The part of a rank."""
    if isinstance(operand, Ranks):
        return operand.each[rank]
    return tuple(_of(each, rank) for each in operand) if isinstance(operand, tuple | list) else operand
