"""The parts of a model in training as the ranks of a tensor-parallel group share them; embedding and head are whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.errors import BadWorkload
from controller.models.cut import joined, name_within_layer, part_of
from controller.models.shape import ModelShape
from controller.models.training.layout import Array, FlatLayout, Part, parts


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


def tensor_of_rank(tensor: Callable[[str], Array], rank: int, ranks: int) -> Callable[[str], Array]:
    """Values of a rank by canonical name, out of those of the whole model."""
    return lambda name: part_of(name_within_layer(name), tensor(name), rank, ranks)


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
        return {name: joined(name_within_layer(name), [of_rank[name] for of_rank in found]) for name in found[0]}


def joined_parts(shape: ModelShape, ranks: int) -> tuple[JoinedPart, ...]:
    """The parts of a model over ranks of `shape_of_rank`."""
    return tuple(
        JoinedPart(
            part.name, part.prefix, FlatLayout({}, {}, ranks * part.layout.elements), part.layer, (part,) * ranks
        )
        for part in parts(shape_of_rank(shape, ranks))
    )
