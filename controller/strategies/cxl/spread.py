"""A flat tensor over several memory nodes, as pages in turn leave it: each tensor in it has its share on every node.

A node keeps what it has of a part in one buffer, tensor after tensor. Pages are not told apart: of each tensor the
first elements lie on the first node, the next on the second; what matters to time is how many lie where. Over all parts
of a group the shares come out exactly as placed, to the element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from controller.plan.ops import Buffer, View
from controller.program.run import Array, Content, Run
from node.hardware.operation import ITEM_BYTES

Place = tuple[str, str]
"""Device and tier of a memory node."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring elements on one node.

    Attributes:
        start, stop: in the flat tensor [elements].
        buffer: that they lie in.
        at: where they start in it [elements].
    """

    start: int
    stop: int
    buffer: Buffer
    at: int

    def view(self, start: int, stop: int) -> View:
        """Elements `start` to `stop` of the flat tensor, all within this piece (elements)."""
        item = ITEM_BYTES[self.buffer.dtype]
        return View(self.buffer, (self.at + start - self.start) * item, (stop - start,))


@dataclass(frozen=True)
class Spread:
    """A flat tensor in pieces.

    Attributes:
        elements: of all pieces together.
        buffers: one for each node that holds some of it.
        pieces: in order, without gaps.
    """

    elements: int
    buffers: tuple[Buffer, ...]
    pieces: tuple[Piece, ...]

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, View]]:
        """The parts of ``start:stop`` by piece: first and last element, and where they lie."""
        for piece in self.pieces:
            first, last = max(start, piece.start), min(stop, piece.stop)
            if first < last:
                yield first, last, piece.view(first, last)

    def place(self, run: Run, content: Content = None) -> None:
        """Places the buffers, with their parts of the flat `content` where there is one."""
        for buffer in self.buffers:
            run.place(buffer, self._content(buffer, content), written=True)

    def _content(self, buffer: Buffer, whole: Content) -> Content:
        if whole is None:
            return None
        mine = [(piece.start, piece.stop) for piece in self.pieces if piece.buffer == buffer]

        def make() -> Array:
            values: Array = np.asarray(whole() if callable(whole) else whole).reshape(-1)
            return np.concatenate([values[start:stop] for start, stop in mine])

        return make


def common_pieces(start: int, stop: int, spreads: Sequence[Spread]) -> Iterator[tuple[View, ...]]:
    """Elements ``start:stop`` of several tensors of one layout, cut where any of them changes its node."""
    cuts = {start, stop}
    for spread in spreads:
        cuts |= {edge for piece in spread.pieces for edge in (piece.start, piece.stop) if start < edge < stop}
    for first, last in pairwise(sorted(cuts)):
        yield tuple(view for spread in spreads for _, _, view in spread.within(first, last))


def spread_group(
    name: str,
    parts: Sequence[tuple[str, Sequence[int]]],
    dtype: str,
    places: Sequence[Place],
    placed: Sequence[int],
) -> tuple[Spread, ...]:
    """Every part of a group, over its nodes.

    Args:
        name: of the group; begins the names of the buffers.
        parts: name of each part and the elements of its tensors, in their order.
        dtype: element type of the group.
        places: nodes.
        placed: bytes on each of them; together those of the group.
    """
    item = ITEM_BYTES[dtype]
    left = _elements(placed, item)
    found = []
    for part, tensors in parts:
        counts = []
        for size in tensors:
            taken = _share(size, left)
            left = [rest - count for rest, count in zip(left, taken, strict=True)]
            counts.append(taken)
        found.append(_spread(f"{name}.{part}", counts, dtype, places))
    return tuple(found)


def _elements(placed: Sequence[int], item: int) -> list[int]:
    """Bytes on each node as whole elements, none lost; the first gets no more than it was given."""
    edges = [sum(placed[:node]) // item for node in range(len(placed) + 1)]
    return [stop - start for start, stop in pairwise(edges)]


def _share(size: int, left: Sequence[int]) -> list[int]:
    """`size` elements on nodes in proportion to what each still has to take, never more than that."""
    total = sum(left)
    taken = [size * rest // total if total else 0 for rest in left]
    missing = size - sum(taken)
    for node, rest in enumerate(left):
        more = min(missing, 1, rest - taken[node])
        taken[node] += more
        missing -= more
    return taken


def _spread(name: str, counts: Sequence[Sequence[int]], dtype: str, places: Sequence[Place]) -> Spread:
    totals = [sum(column) for column in zip(*counts, strict=True)]
    buffers = [
        Buffer(device, tier, name, dtype, (total,)) for (device, tier), total in zip(places, totals, strict=True)
    ]
    pieces: list[Piece] = []
    at, begin = [0] * len(places), 0
    for taken in counts:
        for node, count in enumerate(taken):
            if not count:
                continue
            last = pieces[-1] if pieces else None
            if last is not None and last.buffer is buffers[node]:
                pieces[-1] = Piece(last.start, last.stop + count, last.buffer, last.at)
            else:
                pieces.append(Piece(begin, begin + count, buffers[node], at[node]))
            at[node] += count
            begin += count
    return Spread(begin, tuple(buffer for buffer in buffers if buffer.shape[0]), tuple(pieces))
