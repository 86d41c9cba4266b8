"""Where keys and values of the pieces lie, as a step sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.errors import BadWorkload
from controller.models.scenario import Scenario
from controller.models.shape import ModelShape
from controller.offload.pieces import HeadPiece
from controller.plan.ops import Buffer, View
from controller.plan.size import Affine, Size, symbol
from controller.program.run import Run

Pair = tuple[View, View]


class Cache(Protocol):
    """Keys and values of every lane, layer and piece."""

    def place(self, run: Run) -> None:
        """Allocates everything."""

    def pair(self, lane: int, layer: int, piece: HeadPiece) -> Pair:
        """Keys and values, each (rows, KV heads, capacity, d)."""

    def past(self, lane: int) -> Size:
        """Tokens before the new one."""

    def start(self, lane: int, layer: int) -> Size | None:
        """First token that a layer attends to; None for all."""


class FixedCache:
    """Sequences of one length, with room for the longest context."""

    def __init__(
        self, shape: ModelShape, pieces: Sequence[HeadPiece], rows: Sequence[int], max_tokens: int, dtype: str
    ) -> None:
        self._shape, self._windowed = shape, 0 < shape.sliding_window < max_tokens
        self._pairs = {
            (lane, layer, piece.index): tuple(
                Buffer(
                    piece.memory, "hbm", f"cache{lane}.{piece.index}.{part}{layer}", dtype,
                    (count, piece.kv_heads, max_tokens, shape.head_dim),
                )
                for part in "kv"
            )
            for lane, count in enumerate(rows)
            for layer in range(shape.layers)
            for piece in pieces
        }  # fmt: skip

    def place(self, run: Run) -> None:
        for pair in self._pairs.values():
            for buffer in pair:
                run.place(buffer, written=True)

    def buffers(self, lane: int, layer: int, piece: HeadPiece) -> tuple[Buffer, ...]:
        """Keys and values as buffers."""
        return self._pairs[lane, layer, piece.index]

    def pair(self, lane: int, layer: int, piece: HeadPiece) -> Pair:
        keys, values = self._pairs[lane, layer, piece.index]
        return keys.view(), values.view()

    def past(self, lane: int) -> Size:
        return symbol("position")

    def start(self, lane: int, layer: int) -> Size | None:
        return symbol("start") if self._windowed and self._shape.window(layer) else None

    def bindings(self, position: int) -> dict[str, int]:
        """Numbers for `past` and `start` in the step that adds token number `position`."""
        window = self._shape.sliding_window
        found = {"position": position}
        if self._windowed and self._shape.sliding_layers:
            found["start"] = max(0, position + 1 - window)
        return found


def check_whole_context(scenario: Scenario) -> None:
    """Refuses an effective context, which these caches know nothing of.

    Raises:
        BadWorkload: one is asked for.
    """
    if scenario.effective_context is not None:
        raise BadWorkload("attention over tensor-parallel heads reads the whole context: remove --effective-context")


class PooledCache:
    """Requests of all lengths in a pool of a fixed number of tokens, read as equal rows of their mean length.

    The bytes of a step are those of its requests up to the rounding of the mean; which request has which length does
    not matter to a kernel that is bound by what it reads. The batches that take turns share the pool, as every memory
    device works on one of them at a time.
    """

    def __init__(self, shape: ModelShape, pieces: Sequence[HeadPiece], tokens: int, dtype: str) -> None:
        self._shape = shape
        self._pairs = {
            (layer, piece.index): tuple(
                Buffer(
                    piece.memory, "hbm", f"pool.{piece.index}.{part}{layer}", dtype,
                    (tokens, piece.kv_heads, shape.head_dim),
                )
                for part in "kv"
            )
            for layer in range(shape.layers)
            for piece in pieces
        }  # fmt: skip

    def place(self, run: Run) -> None:
        for pair in self._pairs.values():
            for buffer in pair:
                run.place(buffer, written=True)

    def pair(self, lane: int, layer: int, piece: HeadPiece) -> Pair:
        extents: tuple[Size, ...] = (
            symbol(f"rows{lane}"), piece.kv_heads, symbol(f"context{lane}"), self._shape.head_dim,
        )  # fmt: skip
        keys, values = self._pairs[layer, piece.index]
        return View(keys, 0, extents), View(values, 0, extents)

    def past(self, lane: int) -> Affine:
        return symbol(f"context{lane}") - 1

    def start(self, lane: int, layer: int) -> Size | None:
        return symbol(f"start{lane}") if self._shape.window(layer) else None
