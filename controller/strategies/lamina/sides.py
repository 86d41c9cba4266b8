"""Who computes decode attention: the GPUs that hold the model, or memory devices behind a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from controller.models.shape import ModelShape
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import Size
from controller.program.run import Run
from controller.strategies.lamina.cache import Cache, Pair
from controller.strategies.lamina.network import NetworkStack
from controller.strategies.lamina.ranks import RankLane
from controller.strategies.lamina.shards import Piece


class Side(Protocol):
    """What a decode step needs of whoever attends."""

    def place(self, run: Run) -> None:
        """Allocates what attention works on, without the cache."""

    def attend(
        self, build: PlanBuilder, lane: int, layer: int, here: RankLane, there: RankLane, position: Size
    ) -> None:
        """Projections on `here`, attention, and its result on the way to where `there` expects it."""

    def collect(self, build: PlanBuilder, lane: int, there: RankLane) -> None:
        """What `there` must do with what came before it goes on."""


class LocalSide:
    """Attention on the GPUs of the model, each over its own heads; one piece a rank."""

    def __init__(
        self, shape: ModelShape, pieces: Sequence[Piece], cache: Cache, dtype: str, most: Sequence[int]
    ) -> None:
        self.shape, self.pieces, self.cache = shape, tuple(pieces), cache
        group = shape.heads // shape.kv_heads
        self._lse = [
            [Buffer(piece.memory, "hbm", f"lse{lane}", "fp32", (rows, piece.kv_heads * group)) for piece in pieces]
            for lane, rows in enumerate(most)
        ]

    def place(self, run: Run) -> None:
        """See `Side.place`."""
        for lane in self._lse:
            for buffer in lane:
                run.place(buffer)

    def attend(
        self, build: PlanBuilder, lane: int, layer: int, here: RankLane, there: RankLane, position: Size
    ) -> None:
        """See `Side.attend`."""
        queries = here.queries(build, layer, position)
        keys = here.keys(build, layer, position)
        for piece, q, pair in zip(self.pieces, queries, keys, strict=True):
            kept = self.cache.pair(lane, layer, piece)
            append(build, self.shape, piece, here.rows, pair, kept, self.cache.past(lane))
            heads = piece.kv_heads * (self.shape.heads // self.shape.kv_heads)
            decode(
                build, self.shape, piece, View(q.buffer, q.offset_bytes, (here.rows, heads, self.shape.head_dim)), kept,
                self.cache.past(lane) + 1, self.cache.start(lane, layer),
                there.attention(piece.rank), View(self._lse[lane][piece.rank], 0, (here.rows, heads)),
            )  # fmt: skip

    def collect(self, build: PlanBuilder, lane: int, there: RankLane) -> None:
        """See `Side.collect`; it is in place."""


class RemoteSide:
    """Attention on memory devices, by heads. With `overlap` q goes ahead of k and v, and partial results are merged."""

    def __init__(
        self,
        shape: ModelShape,
        pieces: Sequence[Piece],
        cache: Cache,
        dtype: str,
        rows: Sequence[tuple[Size, int]],
        stack: NetworkStack,
        replicas: Sequence[tuple[str, ...]],
        *,
        overlap: bool,
    ) -> None:
        """Args are as named; `rows` is, for each lane, its rows and the most of them."""
        self.shape, self.pieces, self.cache, self.stack, self.overlap = shape, tuple(pieces), cache, stack, overlap
        self._rows = [count for count, _ in rows]
        self._dtype, self._dim = dtype, shape.head_dim
        self._group = shape.heads // shape.kv_heads
        self._buffers: list[Buffer] = []
        self._merged: dict[int, int] = {}  # piece to the op that made its last result
        lanes = range(len(rows))
        most = [count for _, count in rows]
        self._landing = [{piece.index: self._landing_of(lane, piece, most[lane]) for piece in pieces} for lane in lanes]
        # On the model's side a rank with one piece sends and receives in place.
        self._parts = {
            (devices[piece.rank], lane, piece.index): self._parts_of(devices[piece.rank], lane, piece, most[lane])
            for devices in replicas
            for lane in lanes
            for piece in pieces
            if self._shares(piece)
        }

    def place(self, run: Run) -> None:
        """See `Side.place`."""
        for buffer in self._buffers:
            run.place(buffer)

    def attend(
        self, build: PlanBuilder, lane: int, layer: int, here: RankLane, there: RankLane, position: Size
    ) -> None:
        """See `Side.attend`."""
        queries = here.queries(build, layer, position)
        outgoing = self._cut(build, lane, here, 0, queries)
        if self.overlap:
            self._send(build, here, outgoing, "send q")
            keys = here.keys(build, layer, position)
            outgoing = []
        else:
            keys = here.keys(build, layer, position)
        for part in range(2):
            outgoing += self._cut(build, lane, here, 1 + part, [pair[part] for pair in keys])
        self._send(build, here, outgoing, "send kv" if self.overlap else "send qkv")
        for piece in self.pieces:
            self._on_memory(build, lane, layer, piece)
        self._bring_back(build, lane, there)

    # -- model's side --------------------------------------------------------------------------------------------------

    def _cut(
        self, build: PlanBuilder, lane: int, here: RankLane, part: int, whole: Sequence[View]
    ) -> list[tuple[int, View, View]]:
        """(rank, source, destination) of every piece of q (part 0), k (1) or v (2)."""
        found: list[tuple[int, View, View]] = []
        for rank, view in enumerate(whole):
            mine = [piece for piece in self.pieces if piece.rank == rank]
            sources = [view]
            if len(mine) > 1:
                device = view.buffer.device
                buffers = [self._parts[device, lane, piece.index][part] for piece in mine]
                sources = [self._flat(lane, buffer) for buffer in buffers]
                here.made[rank] = build.kernel("split", device, [view], sources)
            for piece, source in zip(mine, sources, strict=True):
                found.append((rank, source, self._flat(lane, self._landing[lane][piece.index][part])))
        return found

    def _send(self, build: PlanBuilder, here: RankLane, messages: list[tuple[int, View, View]], label: str) -> None:
        for rank in range(here.shards.world):
            pairs = [(source, target) for owner, source, target in messages if owner == rank]
            self.stack.send(build, pairs, label, (here.made[rank],))

    def _bring_back(self, build: PlanBuilder, lane: int, there: RankLane) -> None:
        for rank, device in enumerate(there.shards.devices):
            mine = [piece for piece in self.pieces if piece.rank == rank]
            target = there.attention(rank)
            for piece in mine:
                flat = self._flat(lane, self._landing[lane][piece.index][3])
                place = (
                    self._flat(lane, self._parts[device, lane, piece.index][3])
                    if self._shares(piece)
                    else View(target.buffer, 0, (self._rows[lane], self._width(piece, 0)))
                )
                self.stack.send(build, [(flat, place)], "attention out", (self._merged[piece.index],))

    def collect(self, build: PlanBuilder, lane: int, there: RankLane) -> None:
        """See `Side.collect`; a kernel of the next slice, so that no other batch's slice waits behind it."""
        for rank, device in enumerate(there.shards.devices):
            mine = [piece for piece in self.pieces if piece.rank == rank]
            if len(mine) > 1:
                arrived = [self._flat(lane, self._parts[device, lane, piece.index][3]) for piece in mine]
                width = sum(self._width(piece, 0) for piece in mine)
                target = View(there.attention(rank).buffer, 0, (self._rows[lane], width))
                build.kernel("concat", device, arrived, [target])

    # -- memory's side -------------------------------------------------------------------------------------------------

    def _on_memory(self, build: PlanBuilder, lane: int, layer: int, piece: Piece) -> None:
        rows = self._rows[lane]
        q, k, v, out, before, lse = self._landing[lane][piece.index]
        query = self._heads(lane, piece, q)
        kept, past, start = self.cache.pair(lane, layer, piece), self.cache.past(lane), self.cache.start(lane, layer)
        pair = View(k, 0, (rows, self._width(piece, 1))), View(v, 0, (rows, self._width(piece, 1)))
        result = self._heads(lane, piece, out)
        sums = View(lse, 0, (rows, piece.kv_heads * self._group))
        if not self.overlap:
            append(build, self.shape, piece, rows, pair, kept, past)
            decode(build, self.shape, piece, query, kept, past + 1, start, result, sums)
            self._merged[piece.index] = build.count - 1
            return
        old = self._heads(lane, piece, before)
        decode(build, self.shape, piece, query, kept, past, start, old, sums)
        alone = [View(each.buffer, 0, (rows, piece.kv_heads, self._dim)) for each in pair]
        self._merged[piece.index] = build.kernel(
            "merge_new_token", piece.memory, [old, sums, query, *alone], [result], scale=self.shape.attention_scale
        )
        append(build, self.shape, piece, rows, pair, kept, past)

    # -- buffers -------------------------------------------------------------------------------------------------------

    def _shares(self, piece: Piece) -> bool:
        return sum(other.rank == piece.rank for other in self.pieces) > 1

    def _width(self, piece: Piece, part: int) -> int:
        return piece.kv_heads * self._dim * (self._group if part in (0, 3) else 1)

    def _flat(self, lane: int, buffer: Buffer) -> View:
        return View(buffer, 0, (self._rows[lane], *buffer.shape[1:]))

    def _heads(self, lane: int, piece: Piece, buffer: Buffer) -> View:
        return View(buffer, 0, (self._rows[lane], piece.kv_heads * self._group, self._dim))

    def _landing_of(self, lane: int, piece: Piece, rows: int) -> tuple[Buffer, ...]:
        """q, k, v, result, attention over what was there, and its log-sum-exp."""
        wide, narrow = self._width(piece, 0), self._width(piece, 1)
        name, device = f"{lane}.{piece.index}", piece.memory
        widths = {"q": wide, "k": narrow, "v": narrow, "out": wide, "before": wide}
        found = [Buffer(device, "hbm", f"{part}{name}", self._dtype, (rows, width)) for part, width in widths.items()]
        found.append(Buffer(device, "hbm", f"lse{name}", "fp32", (rows, piece.kv_heads * self._group)))
        self._buffers += found
        return tuple(found)

    def _parts_of(self, device: str, lane: int, piece: Piece, rows: int) -> tuple[Buffer, ...]:
        found = tuple(
            Buffer(device, "hbm", f"{name}{lane}.{piece.index}", self._dtype, (rows, self._width(piece, part)))
            for part, name in enumerate(("piece_q", "piece_k", "piece_v", "piece_out"))
        )
        self._buffers += found
        return found


def append(
    build: PlanBuilder, shape: ModelShape, piece: Piece, rows: Size, new: tuple[View, View], kept: Pair, past: Size
) -> None:
    """The new token's keys and values become token number `past` of the cache."""
    for part, cache in zip(new, kept, strict=True):
        source = View(part.buffer, part.offset_bytes, (rows, piece.kv_heads, 1, shape.head_dim))
        build.kernel("kv_write", piece.memory, [source], [cache], position=past, tokens=1)


def decode(
    build: PlanBuilder, shape: ModelShape, piece: Piece, query: View, kept: Pair, tokens: Size, start: Size | None,
    out: View, lse: View,
) -> None:  # fmt: skip
    """Attention of the new token over `tokens` of one segment."""
    build.kernel(
        "decode_attention", piece.memory, [query, *kept], [out, lse],
        tokens=(tokens,), starts=() if start is None else (start,), scale=shape.attention_scale,
    )  # fmt: skip
