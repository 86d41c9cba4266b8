"""Training of a block over a tensor-parallel group: its weights cut by a rule for each name, its sums by a collective.

    s = RankScript(script, places)                  # emits every op on every rank
    block = ShardedBlock(shape, layer, weights)     # of each rank its part of every weight
    x, made = forward(s, block, x)                  # as on one device; values are one on each rank

Source: Shoeybi et al., "Megatron-LM", arXiv 1909.08053, section 3: projections out of the stream by columns, those back
into it by rows, an all-reduce behind each pair forward and before it backward. Embedding and head are whole everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from controller.collectives.on_values import collective
from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.linear import linear
from controller.models.shape import ModelShape
from controller.models.sharding import cut_axis
from controller.models.training.layout import Array, FlatLayout, Part, parts
from controller.plan.ops import View
from controller.plan.script import Script, Source, Value
from controller.plan.size import Size
from controller.plan.value import Place


class Ranks(Value):
    """A value on each rank of a group; shape and type are those of one rank."""

    __slots__ = ("each",)

    def __init__(self, script: RankScript, each: Sequence[Source]) -> None:
        first = each[0]
        dtype = first.buffer.dtype if isinstance(first, View) else first.dtype
        super().__init__(script, -1, script.places[0], dtype, first.shape)
        self.each = tuple(each)


class RankScript(Script):
    """A script in which an op stands for one on each rank, over the parts of its operands there.

    Attributes:
        inner: takes the ops.
        places: of the ranks.
    """

    def __init__(self, s: Script, places: Sequence[Place]) -> None:
        """The ranks of one group.

        Args:
            s: takes the ops.
            places: of the ranks.
        """
        super().__init__(s.name, s.arenas)
        self.places = tuple(places)
        self.inner = s

    def results(self, op: str, *inputs: Source, out: Any = None, **given: Any) -> tuple[Any, ...]:
        """Emits a kernel on every rank; the arguments are those of `Script.results`."""
        results, made = self.inner.results, []
        for rank in range(len(self.places)):
            own = [each.each[rank] if type(each) is Ranks else each for each in inputs]
            made.append(results(op, *own, out=None if out is None else _of(out, rank), **given))
        return tuple([Ranks(self, each) for each in zip(*made, strict=True)])

    def empty(
        self, place: Place, dtype: str, shape: tuple[Size, ...], *, spare: bool = False, partial: bool = False
    ) -> Value:
        """An empty value on every rank."""
        empty = self.inner.empty
        return Ranks(self, [empty(each, dtype, shape, spare=spare, partial=partial) for each in self.places])

    def ranks(self, each: Sequence[Source]) -> Ranks:
        """What each rank has, as one value."""
        return Ranks(self, each)

    def tensors(self, each: Sequence[Mapping[str, View]]) -> dict[str, Any]:
        """Tensors by name, of all ranks as one, out of those of each; `ShardedBlock` takes them as weights."""
        return {name: Ranks(self, [tensors[name] for tensors in each]) for name in each[0]}

    def add_up(self, partial: Value) -> Value:
        """The sum of what ranks have, on every rank, in its place."""
        assert isinstance(partial, Ranks), "ops of this script make values of all ranks"
        if len(self.places) > 1:
            collective(self.inner, "all_reduce", partial.each, in_place=True, label="sum of ranks")
        return partial

    @contextmanager
    def labelled(self, suffix: str = "") -> Iterator[None]:
        """As `Script.labelled`, on every rank."""
        with self.inner.labelled(suffix):
            yield


def _of(operand: Any, rank: int) -> Any:
    """The part of a rank."""
    if isinstance(operand, Ranks):
        return operand.each[rank]
    return tuple(_of(each, rank) for each in operand) if isinstance(operand, tuple | list) else operand


@dataclass(frozen=True, slots=True)
class ShardedBlock(Block):
    """One layer over the ranks of a `RankScript`; `shape` is that of one rank (`shape_of_rank`)."""

    def linear(self, s: Script, name: str, x: Source, label: str, out: Source | None = None) -> Value:
        """A projection; one back into the stream is added up over the ranks, and its bias is added once."""
        if cut_axis(f"{name}.weight") != 1:
            return linear(s, self.weights, name, x, label, out)
        assert isinstance(s, RankScript), "ranks are emitted by a RankScript"
        bias = self.weights.get(f"{name}.bias") if len(s.places) > 1 else None
        if bias is None:
            return s.add_up(linear(s, self.weights, name, x, label, out))
        whole = s.add_up(s.op("linear", x, self.weights[f"{name}.weight"], label=label))
        return s.op("add", whole, bias, out=out, label=f"{label} bias")

    def whole(self, s: Script, gradient: Value) -> Value:
        """The gradient of what every projection out of the stream took, of which ranks have summands."""
        assert isinstance(s, RankScript), "ranks are emitted by a RankScript"
        return s.add_up(gradient)


def shape_of_rank(shape: ModelShape, ranks: int) -> ModelShape:
    """The model as one of several ranks has it.

    Raises:
        BadWorkload: heads or feed-forward do not divide evenly.
    """
    shared = {"query heads": shape.heads, "key heads": shape.kv_heads, "feed-forward columns": shape.intermediate}
    for what, count in shared.items():
        if count % ranks:
            raise BadWorkload(f"{shape.name} has {count} {what}, which {ranks} ranks cannot share; choose another --tp")
    return replace(
        shape, heads=shape.heads // ranks, kv_heads=shape.kv_heads // ranks, intermediate=shape.intermediate // ranks
    )


def part_of(name: str, whole: Array, rank: int, ranks: int) -> Array:
    """What a rank has of a weight, by its name within the layer."""
    axis = cut_axis(name)
    return whole if axis is None else np.array_split(whole, ranks, axis)[rank]


def tensor_of_rank(tensor: Callable[[str], Array], rank: int, ranks: int) -> Callable[[str], Array]:
    """Values of a rank by canonical name, out of those of the whole model."""
    return lambda name: part_of(_within_layer(name), tensor(name), rank, ranks)


@dataclass(frozen=True)
class JoinedPart(Part):
    """A part of a model whose flat content is that of one rank after the other."""

    of_ranks: tuple[Part, ...] = ()

    def named(self, flat: Array) -> dict[str, Array]:
        """Canonical name to whole tensor."""
        found, start = [], 0
        for part in self.of_ranks:
            found.append(part.named(flat[start : start + part.layout.elements]))
            start += part.layout.elements
        return {name: _joined(name, [of_rank[name] for of_rank in found]) for name in found[0]}


def _joined(name: str, of_ranks: Sequence[Array]) -> Array:
    axis = cut_axis(_within_layer(name))
    return of_ranks[0] if axis is None else np.concatenate(of_ranks, axis)


def joined_parts(shape: ModelShape, ranks: int) -> tuple[JoinedPart, ...]:
    """The parts of a model over ranks of `shape_of_rank`."""
    return tuple(
        JoinedPart(
            part.name, part.prefix, FlatLayout({}, {}, ranks * part.layout.elements), part.layer, (part,) * ranks
        )
        for part in parts(shape_of_rank(shape, ranks))
    )


def _within_layer(name: str) -> str:
    """``q.weight`` of ``layers.3.q.weight``; names of the ends as they are."""
    return name.split(".", 2)[2] if name.startswith("layers.") else name
