"""A flat tensor over several places, in pieces.

Evenly, as over the drives of an array (`even_stripes`), or in shares, as pages in turn leave the tensors of a group on
memory nodes (`striped_group`). Pages are not told apart: of each tensor the first elements lie on the first node, the
next on the second; what matters to time is how many lie where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import numpy as np

from controller.plan.build import Operand, as_view
from controller.plan.ops import Buffer, View
from controller.plan.ranges import even_ranges
from controller.plan.script import Source
from controller.plan.value import Place, Value
from controller.program.run import Array, Content, Run
from node.hardware.operation import ITEM_BYTES


@overload
def elements(flat: Value, start: int, count: int) -> Value: ...
@overload
def elements(flat: Operand, start: int, count: int) -> View: ...


def elements(flat: Source, start: int, count: int) -> Value | View:
    """`count` elements from element `start`, of a flat tensor or of any other as it lies in memory (count)."""
    if isinstance(flat, Value):
        return flat.part(start, (count,))
    view = as_view(flat)
    return View(view.buffer, view.offset_bytes + start * ITEM_BYTES[view.buffer.dtype], (count,))


@dataclass(frozen=True, slots=True)
class Stripe:
    """Neighbouring elements in one place.

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
class Striped:
    """A flat tensor in pieces.

    Attributes:
        elements: of all pieces together.
        buffers: one for each place that holds some of it.
        pieces: in order, without gaps.
    """

    elements: int
    buffers: tuple[Buffer, ...]
    pieces: tuple[Stripe, ...]

    @property
    def nbytes(self) -> int:
        """Size of the whole tensor [bytes]."""
        return sum(buffer.nbytes for buffer in self.buffers)

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int, View]]:
        """The parts of ``start:stop`` by piece: first and last element, and where they lie."""
        for piece in self.pieces:
            first, last = max(start, piece.start), min(stop, piece.stop)
            if first < last:
                yield first, last, piece.view(first, last)

    @property
    def views(self) -> list[View]:
        """The pieces in order."""
        return [view for _, _, view in self.within(0, self.elements)]

    def place(self, run: Run, content: Content = None) -> None:
        """Places the buffers, with their parts of the flat `content` where there is one."""
        for buffer in self.buffers:
            run.place(buffer, self._content(buffer, content), written=True)

    def _content(self, buffer: Buffer, whole: Content) -> Content:
        if whole is None:
            return None
        mine = [(piece.start, piece.stop) for piece in self.pieces if piece.buffer is buffer]

        def make() -> Array:
            values: Array = np.asarray(whole() if callable(whole) else whole).reshape(-1)
            return np.concatenate([values[start:stop] for start, stop in mine])

        return make


def even_stripes(name: str, dtype: str, count: int, places: Sequence[Place]) -> Striped:
    """A flat tensor of `count` elements over all `places`, in stripes whose sizes differ by one element at most."""
    pieces = [
        Stripe(start, stop, Buffer(place.device, place.tier, name, dtype, (stop - start,)), 0)
        for place, (start, stop) in zip(places, even_ranges(count, len(places)), strict=False)
        if stop > start
    ]
    return Striped(count, tuple(piece.buffer for piece in pieces), tuple(pieces))


def common_pieces(start: int, stop: int, tensors: Sequence[Striped]) -> Iterator[tuple[View, ...]]:
    """Elements ``start:stop`` of several tensors of one layout, cut where any of them changes its place."""
    cuts = {start, stop}
    for tensor in tensors:
        cuts |= {edge for piece in tensor.pieces for edge in (piece.start, piece.stop) if start < edge < stop}
    for first, last in pairwise(sorted(cuts)):
        yield tuple(view for tensor in tensors for _, _, view in tensor.within(first, last))


def striped_group(
    name: str,
    parts: Sequence[tuple[str, Sequence[int]]],
    dtype: str,
    places: Sequence[Place],
    placed: Sequence[int],
) -> tuple[Striped, ...]:
    """Every part of a group over its places; over all parts the shares are as placed, to the element.

    Args:
        name: of the group; begins the names of the buffers.
        parts: name of each part and the elements of its tensors, in their order.
        dtype: element type of the group.
        places: that hold it.
        placed: bytes in each of them; together those of the group.
    """
    item = ITEM_BYTES[dtype]
    # Whole elements, none lost; the first place gets no more than it was given.
    edges = [sum(placed[:place]) // item for place in range(len(placed) + 1)]
    left = [stop - start for start, stop in pairwise(edges)]
    found = []
    for part, tensors in parts:
        counts = []
        for size in tensors:
            taken = _share(size, left)
            left = [rest - count for rest, count in zip(left, taken, strict=True)]
            counts.append(taken)
        found.append(_in_shares(f"{name}.{part}", counts, dtype, places))
    return tuple(found)


def _share(size: int, left: Sequence[int]) -> list[int]:
    """`size` elements in proportion to what each place still has to take, never more than that."""
    total = sum(left)
    taken = [size * rest // total if total else 0 for rest in left]
    missing = size - sum(taken)
    for place, rest in enumerate(left):
        more = min(missing, 1, rest - taken[place])
        taken[place] += more
        missing -= more
    return taken


def _in_shares(name: str, counts: Sequence[Sequence[int]], dtype: str, places: Sequence[Place]) -> Striped:
    """Tensor after tensor, a given number of elements of each in every place; a place keeps its part in one buffer."""
    totals = [sum(column) for column in zip(*counts, strict=True)]
    buffers = [
        Buffer(place.device, place.tier, name, dtype, (total,)) for place, total in zip(places, totals, strict=True)
    ]
    pieces: list[Stripe] = []
    at, begin = [0] * len(places), 0
    for taken in counts:
        for place, count in enumerate(taken):
            if not count:
                continue
            last = pieces[-1] if pieces else None
            if last is not None and last.buffer is buffers[place]:
                pieces[-1] = Stripe(last.start, last.stop + count, last.buffer, last.at)
            else:
                pieces.append(Stripe(begin, begin + count, buffers[place], at[place]))
            at[place] += count
            begin += count
    return Striped(begin, tuple(buffer for buffer in buffers if buffer.shape[0]), tuple(pieces))
