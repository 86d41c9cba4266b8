"""Weights of a model cut over the ranks of a tensor-parallel group that decodes, in shares that may be unequal.

Layers are cut as `cut.py` says, by whole KV heads with their query heads; the embedding by its columns and the head by
its rows. What reads the same input and is needed at the same time is one matrix: q, k and v, or k and v where q goes
ahead. The bias of what is added up over the ranks lies on the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.cut import ATTENTION, BY_INPUT, Array, cut_axis
from controller.models.quantization import stored
from controller.models.shape import ModelShape, weight_shapes
from controller.models.sharded_block import ShardedBlock
from controller.models.weights import Weights, packed_content
from controller.plan.ops import Buffer
from controller.plan.ranges import Range, even_ranges
from controller.program.run import Content, Run

Cut = Callable[[Array], Array]
_Entry = tuple[tuple[tuple[str, Cut], ...], tuple[int, ...]]
"""What a weight here is made of: (canonical name, cut), joined by rows; and its extents."""


class Sharding:
    """The weights of a model over the ranks of one replica.

    Attributes:
        groups: which of q, k and v are one matrix: ("qkv",) or ("q", "kv").
        devices: by rank.
        kv, ffn, columns, vocab: ranges of KV heads, feed-forward columns, hidden columns and token ids, by rank.
        weights: by rank, canonical name to buffer.
    """

    def __init__(
        self, shape: ModelShape, devices: tuple[str, ...], dtype: str, groups: tuple[str, ...] = ("qkv",)
    ) -> None:
        world = len(devices)
        if shape.kv_heads < world or shape.hidden % world:
            raise BadWorkload(
                f"tensor parallelism over {world} devices: {shape.name} has {shape.kv_heads} KV heads, {shape.hidden} "
                f"hidden columns, and every device needs a whole head and an equal share of the columns"
            )
        if shape.qk_norm_whole and world > 1:
            raise BadWorkload(
                f"{shape.name} norms all heads of q and k together, which no rank of {world} has: choose a strategy "
                f"that does not cut heads"
            )
        if shape.experts is not None and world > 1:
            raise BadWorkload(
                f"{shape.name} has experts, which tensor parallelism over {world} devices does not cut: choose one "
                f"device or the strategy expert_parallel"
            )
        self.shape, self.devices, self.dtype, self.groups = shape, devices, dtype, groups
        self.kv = even_ranges(shape.kv_heads, world)
        self.ffn = even_ranges(shape.intermediate, world)
        self.columns = even_ranges(shape.hidden, world)
        self.vocab = even_ranges(shape.vocab, world)
        self.weights: list[dict[str, Buffer]] = []
        self._layers: dict[int, ShardedBlock] = {}
        self._parts: list[dict[str, _Entry]] = []
        for rank, device in enumerate(devices):
            entries = self._entries(rank)
            self._parts.append(entries)
            self.weights.append(
                {
                    name: Buffer(device, "hbm", f"weights.{name}", *stored(shape.quantization, name, dtype, extents))
                    for name, (_, extents) in entries.items()
                }
            )

    @cached_property
    def ends(self) -> list[dict[str, Buffer]]:
        """By rank, the weights outside of layers."""
        return [
            {name: buffer for name, buffer in own.items() if not name.startswith("layers.")} for own in self.weights
        ]

    @property
    def world(self) -> int:
        """Number of ranks."""
        return len(self.devices)

    def layer(self, number: int) -> ShardedBlock:
        """The block of a layer over all ranks; ``blocks`` are those of each."""
        if number not in self._layers:
            prefix = f"layers.{number}."
            weights = [
                {name.removeprefix(prefix): buffer for name, buffer in own.items() if name.startswith(prefix)}
                for own in self.weights
            ]
            self._layers[number] = ShardedBlock.of(
                [Block(self.shape, number, of_rank, dtype=self.dtype) for of_rank in weights]
            )
        return self._layers[number]

    def weight_bytes(self, rank: int) -> int:
        """Size of the weights on a rank [bytes]."""
        return sum(buffer.nbytes for buffer in self.weights[rank].values())

    def place(self, run: Run, weights: Weights | None) -> None:
        """Allocates every weight, with its content in a live run."""
        for rank in range(self.world):
            for name, buffer in self.weights[rank].items():
                run.place(buffer, None if weights is None else self._content(weights, rank, name), written=True)

    def _content(self, weights: Weights, rank: int, name: str) -> Content:
        parts, _ = self._parts[rank][name]

        def make() -> Array:
            whole = np.concatenate([cut(weights.tensor(source)) for source, cut in parts])
            return packed_content(weights.shape, name, whole)

        return make

    def _entries(self, rank: int) -> dict[str, _Entry]:
        everything = weight_shapes(self.shape)
        found: dict[str, _Entry] = {}
        for name, extents in everything.items():
            part, _, rest = name.partition(".")
            if part == "embed":
                found[name] = _cut(name, 1, self.columns[rank], extents)
            elif part == "head":
                found[name] = _cut(name, 0, self.vocab[rank], extents)
            elif part != "layers":
                found[name] = _whole(name, extents)
            else:
                self._add_of_layer(found, name, *rest.partition(".")[::2], rank, extents)
        if "head" not in everything:
            # The embedding is cut by columns, the head by rows, so a tied table lies twice.
            found["head"] = _cut("embed", 0, self.vocab[rank], everything["embed"])
        return found

    def _add_of_layer(
        self, found: dict[str, _Entry], name: str, layer: str, within: str, rank: int, extents: tuple[int, ...]
    ) -> None:
        matrix, _, kind = within.partition(".")
        axis = cut_axis(within)
        if axis is None:
            # A bias without a cut belongs to what is added up over the ranks, so it counts once.
            if rank == 0 or matrix not in BY_INPUT:
                found[name] = _whole(name, extents)
        elif matrix in ATTENTION:
            group = next(group for group in self.groups if matrix in group)
            parts, rest = _cut(name, axis, self._heads(rank, matrix), extents)
            joined = f"layers.{layer}.{group}.{kind}"
            before, so_far = found.get(joined, ((), (0, *rest[1:])))
            found[joined] = (*before, *parts), (so_far[0] + rest[0], *rest[1:])
        else:
            found[name] = _cut(name, axis, self._heads(rank, "q") if matrix == "o" else self.ffn[rank], extents)

    def _heads(self, rank: int, matrix: str) -> Range:
        """Columns of the heads of a rank in q, k or v."""
        width = self.shape.head_dim * (self.shape.heads // self.shape.kv_heads if matrix == "q" else 1)
        start, stop = self.kv[rank]
        return start * width, stop * width


def _slice(axis: int, part: Range) -> Cut:
    index = (slice(None),) * axis + (slice(*part),)
    return lambda values: values[index]


def _cut(name: str, axis: int, part: Range, extents: tuple[int, ...]) -> _Entry:
    return ((name, _slice(axis, part)),), (*extents[:axis], part[1] - part[0], *extents[axis + 1 :])


def _whole(name: str, extents: tuple[int, ...]) -> _Entry:
    return ((name, lambda values: values),), extents
