"""A collective as its algorithm sees it: who gives what, who gets what, and where ops go.

An algorithm is a function of an `Exchange`. It sends ranges of elements from rank to rank and adds up what arrives, and
does not know what the operands are: buffers of a call that is measured, or values of a script. They have one axis or
two. With two, an "element" is a column of the last axis, as long as the first, which may be open until the plan is
bound; so an algorithm counts in whole numbers, whatever the batch is. Columns follow each other in memory: number k of
a chunk is the k-th range of that length of the flat tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.plan.ops import OpAttribute, View
from controller.plan.ranges import Range, even_ranges
from controller.plan.size import Affine, Size, product
from node.hardware.operation import ITEM_BYTES


class Emitter(Protocol):
    """Takes ops and derives their order; returns the index of each."""

    def kernel(
        self,
        op: str,
        device: str,
        inputs: Sequence[View],
        outputs: Sequence[View],
        *,
        queue: str = "",
        label: str = "",
        after: Iterable[int] = (),
        **attributes: OpAttribute,
    ) -> int:
        """Adds a launch."""
        ...

    def transfer(
        self,
        source: View | Sequence[View],
        destination: View | Sequence[View],
        *,
        rate_limit_bytes_per_s: float = 0.0,
        reduction: str = "",
        label: str = "",
        connection: str = "",
        after: Iterable[int] = (),
    ) -> int:
        """Adds a transfer."""
        ...


@dataclass(frozen=True, slots=True)
class Software:
    """What a library's call costs inside of a plan, where `controller.collectives.protocol` changes no device.

    Attributes:
        name: of the protocol; ``plain`` costs nothing.
        start_s: from the call to the first byte, with the software share of all hops [s].
        bytes_per_s: that one rank can send [bytes/s]; 0 for what its port declares.
        own_bytes_per_s: at which its channels copy a rank's own share, before they send; 0 where memory's own copies
            do that beside what is sent [bytes/s].
    """

    name: str = "plain"
    start_s: float = 0.0
    bytes_per_s: float = 0.0
    own_bytes_per_s: float = 0.0


PLAIN = Software()


@dataclass(slots=True)
class Exchange:
    """One collective that is being emitted.

    Attributes:
        emitter: where ops go.
        collective: its name in the table.
        group: the ranks.
        inputs, outputs: of each rank, what it gives and gets (see `controller.collectives.call`).
        room: (rank, name, elements) to room for what arrives; the same for the same name.
        count: elements of the longer side of one rank.
        dtype: element type.
        in_place: whether input and output share their bytes.
        root: rank that a broadcast starts at, or that a star reduces on.
        pieces: independent parts that each chunk is cut into.
        label: of all ops; "" for what the algorithm calls them.
        software: what a library's call costs.
        communicator: whose connections the messages take.
    """

    emitter: Emitter
    collective: str
    group: Group
    inputs: Sequence[View]
    outputs: Sequence[View]
    room: Callable[[int, str, int], View]
    count: int
    dtype: str
    in_place: bool = False
    root: int = 0
    pieces: int = 1
    label: str = ""
    software: Software = PLAIN
    communicator: str = "collective"
    _channels: list[str] = field(default_factory=list)
    _started: dict[str, int] = field(default_factory=dict)
    _own: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.software.start_s > 0:
            # On the queue of kernels, so behind what makes the input.
            label = f"{self.label} start".lstrip()
            for device in self.group.devices:
                self._started[device] = self.emitter.kernel(
                    "delay", device, (), (), label=label, seconds=self.software.start_s
                )

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self.group.devices)

    def scratch(self, rank: int, name: str = "scratch", elements: int | None = None) -> View:
        """Room for what arrives; of `count` elements unless told otherwise."""
        return self.room(rank, name, self.count if elements is None else elements)

    def whole_chunks(self) -> tuple[Range, ...]:
        """The chunk of every rank, as ranges of elements; the last may be empty."""
        return even_ranges(self.count, self.world_size)

    def chunks(self, piece: int = 0) -> tuple[Range, ...]:
        """Piece number `piece` of the chunk of every rank, as ranges of elements; some may be empty."""
        return tuple(even_ranges(stop - start, self.pieces, start)[piece] for start, stop in self.whole_chunks())

    def send(
        self,
        source: View,
        destination: View,
        label: str,
        *,
        channel: int = 0,
        at_once: int = 1,
        after: Iterable[int] = (),
    ) -> int:
        """A message from rank to rank; returns its op.

        Args:
            source, destination: of equal size, on two ranks.
            label: what reports group by, unless the exchange has one for all.
            channel: messages between two ranks keep their order within one.
            at_once: messages that a rank sends side by side, which share what a library can send.
            after: ops that must have ended.
        """
        if channel >= len(self._channels):
            self._channels += [f"{self.communicator}.{number}" for number in range(len(self._channels), channel + 1)]
        if self._started:
            after = (*after, self._started[source.buffer.device])
        if source.buffer.device in self._own:
            after = (*after, self._own[source.buffer.device])
        return self.emitter.transfer(
            source,
            destination,
            rate_limit_bytes_per_s=self.software.bytes_per_s / at_once,
            label=self.label or label,
            connection=self._channels[channel],
            after=after,
        )

    def copy(self, source: View, destination: View, label: str = "copy", after: Iterable[int] = ()) -> int:
        """A copy within the memory of a rank; returns its op."""
        return self.emitter.transfer(source, destination, label=self.label or label, after=after)

    def copy_own(self, source: View, destination: View) -> None:
        """Brings a rank's own share to its output, unless it lies there or is empty.

        The channels of a library do it, which send nothing meanwhile.
        """
        if source == destination or source.shape[-1] == 0:
            return
        copied = self.store_own(source, destination)
        if self.software.own_bytes_per_s > 0:
            self._own[source.buffer.device] = copied

    def store_own(self, source: View, destination: View) -> int:
        """A copy within the memory of a rank at the rate of the library's channels; returns its op."""
        rate = self.software.own_bytes_per_s
        return self.emitter.transfer(source, destination, rate_limit_bytes_per_s=rate, label=self.label or "copy")

    def add(self, rank: int, operands: Sequence[View], total: View, label: str = "", after: Iterable[int] = ()) -> int:
        """`rank` adds up what lies in its memory; returns the op."""
        device = self.group.devices[rank]
        return self.emitter.kernel(
            "reduce", device, operands, (total,), label=self.label or label, after=after, kind="sum"
        )

    def through_switch(
        self, sources: Sequence[View], destinations: Sequence[View], label: str, reduction: str, after: Iterable[int]
    ) -> int:
        """What a switch adds up or multiplies on the way; returns the op."""
        return self.emitter.transfer(
            sources, destinations, reduction=reduction, label=self.label or label, after=after
        )  # fmt: skip


def part(view: View, start: int, stop: int) -> View:
    """Elements ``start:stop`` of what an exchange sends: columns of the last axis, one after the other."""
    shape, item = view.shape, ITEM_BYTES[view.buffer.dtype]
    if start == 0 and shape[-1] == stop:
        return view
    if len(shape) == 1:
        return View(view.buffer, view.offset_bytes + start * item, (stop - start,))
    column = column_of(shape)
    first: Size = column * (start * item) if start else 0
    return View(view.buffer, _sum(view.offset_bytes, first), (column, stop - start))


def _sum(a: Size, b: Size) -> Size:
    if not isinstance(a, Affine):
        return b + a
    if not isinstance(b, Affine):
        return a + b
    if a.symbol != b.symbol:
        raise BadCall(
            f"a range starts at {a.symbol} and has columns of length {b.symbol}, both open; move what the collective "
            f"acts on to a buffer of its own"
        )
    return Affine(a.symbol, a.scale + b.scale, a.offset + b.offset)


def column_of(shape: Sequence[Size]) -> Size:
    """Elements of a column of the last axis: all other extents together.

    Raises:
        BadCall: two of them are open.
    """
    open_count = sum(isinstance(extent, Affine) for extent in shape[:-1])
    if open_count > 1:
        raise BadCall(f"a collective over the shape {tuple(shape)}, in which {open_count} extents are open; leave one")
    return product(shape[:-1])
