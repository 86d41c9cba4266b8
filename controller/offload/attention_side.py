"""The attention backends of a tensor-parallel decoder: its own GPUs, or memory devices behind a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.models.shape import ModelShape
from controller.models.sharded import Sharded
from controller.offload.network_stack import NetworkStack
from controller.offload.piece_cache import Cache, Pair
from controller.offload.pieces import HeadPiece
from controller.plan.script import Script, Value
from controller.plan.size import Size
from controller.plan.value import Place

Arrived = list[list[Value]]
"""By rank, what attention over each of its pieces gave (rows, ..)."""


class Side(Protocol):
    """What a decode step needs of its attention backend."""

    def attend(
        self, s: Script, lane: int, layer: int, here: Sharded, there: Sharded, x: Sequence[Value], position: Size
    ) -> Arrived:
        """Projections on `here`, attention, and its result on the way to the ranks of `there`."""

    def collect(self, s: Script, arrived: Arrived) -> list[Value]:
        """The attention of every rank (rows, h*d), as its next kernel takes it."""


class LocalSide:
    """Attention on the GPUs of the model, each over its own heads; one piece a rank."""

    def __init__(self, shape: ModelShape, pieces: Sequence[HeadPiece], cache: Cache) -> None:
        self._shape, self._pieces, self._cache = shape, tuple(pieces), cache

    def attend(
        self, s: Script, lane: int, layer: int, here: Sharded, there: Sharded, x: Sequence[Value], position: Size
    ) -> Arrived:
        queries = here.queries(s, layer, x, position)
        keys = here.keys(s, layer, position)
        past, start, found = self._cache.past(lane), self._cache.start(lane, layer), []
        for piece, q, new in zip(self._pieces, queries, keys, strict=True):
            kept = self._cache.pair(lane, layer, piece)
            append(s, piece, new, kept, past)
            attended, _ = attention(s, self._shape, piece, q, kept, past + 1, start)
            found.append([attended])
        return found

    def collect(self, s: Script, arrived: Arrived) -> list[Value]:
        return [attended for (attended,) in arrived]


class RemoteSide:
    """Attention on memory devices, by heads. With `overlap` q goes ahead of k and v, and partial results are merged."""

    def __init__(
        self, shape: ModelShape, pieces: Sequence[HeadPiece], cache: Cache, stack: NetworkStack, *, overlap: bool
    ) -> None:
        self._shape, self._pieces, self._cache, self._stack = shape, tuple(pieces), cache, stack
        self._overlap, self._group = overlap, shape.heads // shape.kv_heads

    def attend(
        self, s: Script, lane: int, layer: int, here: Sharded, there: Sharded, x: Sequence[Value], position: Size
    ) -> Arrived:
        queries = self._cut(s, here, here.queries(s, layer, x, position), self._group)
        landed: list[list[Value]] = [[] for _ in self._pieces]
        if self._overlap:
            self._send(s, here, [queries], landed, "send q")
        keys = here.keys(s, layer, position)
        outgoing = [self._cut(s, here, [pair[part] for pair in keys], 1) for part in range(2)]
        if not self._overlap:
            outgoing.insert(0, queries)
        self._send(s, here, outgoing, landed, "send kv" if self._overlap else "send qkv")
        # What is on its way keeps its bytes while the layer's own ops go on.
        s.keep([*queries, *(part for parts in outgoing for part in parts)])
        results = [self._on_memory(s, lane, layer, piece) for piece in zip(self._pieces, landed, strict=True)]
        return self._bring_back(s, there, results)

    # -- model's side --------------------------------------------------------------------------------------------------

    def _cut(self, s: Script, here: Sharded, whole: Sequence[Value], heads: int) -> list[Value]:
        """Each piece's part of q, k or v of all ranks; `heads` for each of its KV heads."""
        found: list[Value] = []
        for rank, value in enumerate(whole):
            mine = [piece for piece in self._pieces if piece.rank == rank]
            if len(mine) == 1:
                found.append(value)
                continue
            widths = [piece.kv_heads * self._shape.head_dim * heads for piece in mine]
            parts = s.results("split", value, makes=[(value.dtype, (*value.shape[:-1], width)) for width in widths])
            here.made[rank] = s.count - 1
            found += [part for part in parts if isinstance(part, Value)]
        return found

    def _send(
        self, s: Script, here: Sharded, outgoing: Sequence[Sequence[Value]], landed: list[list[Value]], label: str
    ) -> None:
        """Sends some of q, k and v of every piece; a rank's messages leave together."""
        for rank in here.ranks:
            mine = [piece for piece in self._pieces if piece.rank == rank]
            messages = [
                (parts[piece.index], Place(piece.memory, "hbm"), piece.index) for parts in outgoing for piece in mine
            ]
            arrived = self._stack.send(s, [(value, to) for value, to, _ in messages], label, (here.made[rank],))
            for (_, _, index), value in zip(messages, arrived, strict=True):
                landed[index].append(value)

    def _bring_back(self, s: Script, there: Sharded, results: Sequence[tuple[Value, int]]) -> Arrived:
        found: Arrived = []
        for rank, place in enumerate(there.places):
            mine = [results[piece.index] for piece in self._pieces if piece.rank == rank]
            found.append([self._stack.send(s, [(out, place)], "attention out", (made,))[0] for out, made in mine])
        return found

    def collect(self, s: Script, arrived: Arrived) -> list[Value]:
        # A kernel of the next slice, so that no other batch's slice waits behind it.
        return [parts[0] if len(parts) == 1 else s.op("concat", *parts) for parts in arrived]

    # -- memory's side -------------------------------------------------------------------------------------------------

    def _on_memory(self, s: Script, lane: int, layer: int, landed: tuple[HeadPiece, list[Value]]) -> tuple[Value, int]:
        """Attention of a piece, as rows, and the op that made it."""
        piece, (q, k, v) = landed
        kept, past, start = self._cache.pair(lane, layer, piece), self._cache.past(lane), self._cache.start(lane, layer)
        if not self._overlap:
            append(s, piece, (k, v), kept, past)
            out, _ = attention(s, self._shape, piece, q, kept, past + 1, start)
            made = s.count - 1
        else:
            old, sums = attention(s, self._shape, piece, q, kept, past, start)
            alone = [part.reshape(part.shape[0], piece.kv_heads, self._shape.head_dim) for part in (k, v)]
            query = q.reshape(*old.shape)
            out = s.op("merge_new_token", old, sums, query, *alone, scale=self._shape.attention_scale)
            made = s.count - 1
            append(s, piece, (k, v), kept, past)
        return out.reshape(*q.shape), made


def append(s: Script, piece: HeadPiece, new: tuple[Value, Value], kept: Pair, past: Size) -> None:
    """The new token's keys and values become token number `past` of the cache."""
    for part, cache in zip(new, kept, strict=True):
        head_dim = cache.shape[-1]
        one = part.reshape(part.shape[0], piece.kv_heads, 1, head_dim)
        s.op("kv_write", one, out=cache, position=past, tokens=1)


def attention(
    s: Script, shape: ModelShape, piece: HeadPiece, q: Value, kept: Pair, tokens: Size, start: Size | None
) -> tuple[Value, Value]:
    """Attention (rows, h, d) of the new token over `tokens` of one segment, and its log-sum-exp (rows, h)."""
    query = q.reshape(q.shape[0], piece.kv_heads * (shape.heads // shape.kv_heads), shape.head_dim)
    out, lse = s.results(
        "decode_attention", query, *kept,
        tokens=(tokens,), starts=() if start is None else (start,), scale=shape.attention_scale,
    )  # fmt: skip
    assert isinstance(out, Value) and isinstance(lse, Value)
    return out, lse
