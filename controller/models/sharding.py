"""Weights of a model cut over the ranks of a tensor-parallel group, by a rule for each name.

q, k, v, gate and up are cut by their outputs (whole KV heads with their query heads), o and down by their inputs, the
embedding by its columns and the head by its rows; norms are everywhere. What reads the same input and is needed at the
same time is one matrix: q, k and v, or k and v where q goes ahead.
Source: Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from controller.errors import BadWorkload
from controller.models.block import Block
from controller.models.quantization import stored
from controller.models.shape import ModelShape, weight_shapes
from controller.models.weights import Weights, packed_content
from controller.plan.ops import Buffer
from controller.plan.ranges import Range, even_ranges
from controller.program.run import Array, Content, Run

Cut = Callable[[Array], Array]

_PROJECTIONS = ("q", "k", "v")
_BY_OUTPUT = ("gate", "up")
_BY_INPUT = ("o", "down")
_Entry = tuple[tuple[tuple[str, Cut], ...], tuple[int, ...]]
"""What a weight here is made of: (canonical name, cut), joined by rows; and its extents."""


def cut_axis(within: str) -> int | None:
    """The axis of which every rank has a part, by the name of a weight within its layer; None where it has all."""
    matrix, _, kind = within.partition(".")
    if matrix in _PROJECTIONS or matrix in _BY_OUTPUT or matrix == "qkv":
        return 0
    return 1 if matrix in _BY_INPUT and kind == "weight" else None


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
        self.shape, self.devices, self.dtype, self.groups = shape, devices, dtype, groups
        self.kv = even_ranges(shape.kv_heads, world)
        self.ffn = even_ranges(shape.intermediate, world)
        self.columns = even_ranges(shape.hidden, world)
        self.vocab = even_ranges(shape.vocab, world)
        self.weights: list[dict[str, Buffer]] = []
        self._blocks: dict[tuple[int, int], Block] = {}
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

    @property
    def world(self) -> int:
        """Number of ranks."""
        return len(self.devices)

    def block(self, rank: int, layer: int) -> Block:
        """The block of a layer over the heads and columns of a rank."""
        if (rank, layer) not in self._blocks:
            prefix = f"layers.{layer}."
            weights = {
                name.removeprefix(prefix): buffer
                for name, buffer in self.weights[rank].items()
                if name.startswith(prefix)
            }
            self._blocks[rank, layer] = Block(self.shape, layer, weights, dtype=self.dtype)
        return self._blocks[rank, layer]

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
        if matrix in _PROJECTIONS:
            group = next(group for group in self.groups if matrix in group)
            parts, rest = _cut(name, 0, self._outputs(rank, matrix), extents)
            joined = f"layers.{layer}.{group}.{kind}"
            before, so_far = found.get(joined, ((), (0, *rest[1:])))
            found[joined] = (*before, *parts), (so_far[0] + rest[0], *rest[1:])
        elif matrix in _BY_OUTPUT:
            found[name] = _cut(name, 0, self.ffn[rank], extents)
        elif matrix in _BY_INPUT and kind == "weight":
            part = self._outputs(rank, "q") if matrix == "o" else self.ffn[rank]
            found[name] = _cut(name, 1, part, extents)
        elif matrix not in _BY_INPUT or rank == 0:
            # The bias of what is added up over the ranks counts once.
            found[name] = _whole(name, extents)

    def _outputs(self, rank: int, matrix: str) -> Range:
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
