"""One call of a collective that is measured: who, how much, of which type, and where its buffers lie.

Buffers by convention, on every rank's tier: ``input`` and ``output`` for the caller, ``scratch`` for what arrives and
is not reduced yet. In place, there is one of the caller's buffers less and the shorter side is a range of the longer
one, as NCCL has it.

==============  ==============================  ==============================
collective      input of rank r                 output of rank r
==============  ==============================  ==============================
all_reduce      count                           count
reduce_scatter  count                           chunk r of count
all_gather      chunk r of count                count
broadcast       count (the root's matters)      count
all_to_all      count: chunk j goes to rank j   chunk r of every rank
barrier         its flag                        element i: the flag of rank r - i
==============  ==============================  ==============================

What does not divide evenly is spread by `controller.plan.ranges`: the first chunks are one element larger.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.collectives.errors import BadCall
from controller.collectives.exchange import PLAIN, Emitter, Exchange, Software, part
from controller.collectives.group import Group
from controller.plan.ops import Buffer, View
from controller.plan.ranges import Range, even_ranges
from node.hardware.operation import ITEM_BYTES

DTYPES = ("fp32", "bf16", "fp16", "int32", "int8", "int64", "fp64")
"""Element types that can be summed."""

NO_IN_PLACE = ("all_to_all", "barrier")
"""Collectives whose input and output cannot be one buffer."""

MOST_PIECES = 256
"""Of a chunk; a plan grows with their number, and beyond a few dozen only latency is added."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        collective: name in the table.
        group: the ranks.
        count: elements of the longer of input and output (see the table above).
        dtype: element type.
        in_place: whether input and output share a buffer.
        root: rank that a broadcast starts at, or that a star reduces on.
        pieces: independent parts that each chunk is cut into, so that reducing one overlaps with sending another.
    """

    collective: str
    group: Group
    count: int
    dtype: str = "fp32"
    in_place: bool = False
    root: int = 0
    pieces: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise BadCall(f"{self.collective} of {self.count} elements; at least 1 is needed")
        if self.dtype not in DTYPES:
            raise BadCall(
                f"{self.collective} cannot add elements of type {self.dtype!r}; it can of {', '.join(DTYPES)}"
            )
        if not 0 <= self.root < self.world_size:
            raise BadCall(f"root {self.root} is not a rank: the group has ranks 0 to {self.world_size - 1}")
        if self.pieces < 1:
            raise BadCall(f"{self.pieces} pieces of a chunk; at least 1 is needed")
        if self.pieces > MOST_PIECES:
            raise BadCall(
                f"{self.pieces} pieces of a chunk; at most {MOST_PIECES} are made, each with steps of its own"
            )
        if self.in_place and self.collective in NO_IN_PLACE:
            raise BadCall(f"{self.collective} has no in-place form; run it out of place")

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.group.world_size

    @property
    def item_bytes(self) -> int:
        """Size of an element [bytes]."""
        return ITEM_BYTES[self.dtype]

    def whole_chunks(self) -> tuple[Range, ...]:
        """The chunk of every rank, as ranges of elements; the last may be empty."""
        return even_ranges(self.count, self.world_size)

    def input(self, rank: int) -> View:
        """What `rank` gives."""
        start, stop = self._own(rank)
        if self.collective == "all_gather":
            if self.in_place:
                return part(self.output(rank), start, stop)
            return self._buffer(rank, "input", stop - start)
        return self._buffer(rank, "input", 1 if self.collective == "barrier" else self.count)

    def output(self, rank: int) -> View:
        """What `rank` gets."""
        start, stop = self._own(rank)
        if self.in_place and self.collective != "all_gather":
            whole = self.input(rank)
            return part(whole, start, stop) if self.collective == "reduce_scatter" else whole
        elements = self.count
        if self.collective == "reduce_scatter":
            elements = stop - start
        elif self.collective == "all_to_all":
            elements = (stop - start) * self.world_size
        elif self.collective == "barrier":
            elements = self.world_size
        return self._buffer(rank, "output", elements)

    def scratch(self, rank: int, name: str, elements: int) -> View:
        """Room for what arrives."""
        return self._buffer(rank, name, elements)

    def exchange(self, emitter: Emitter, software: Software = PLAIN) -> Exchange:
        """The call as an algorithm sees it; ops go to `emitter`."""
        ranks = range(self.world_size)
        inputs, outputs = [self.input(rank) for rank in ranks], [self.output(rank) for rank in ranks]
        return Exchange(
            emitter, self.collective, self.group, inputs, outputs, self.scratch, self.count, self.dtype,
            self.in_place, self.root, self.pieces, software=software,
        )  # fmt: skip

    def _own(self, rank: int) -> Range:
        return self.whole_chunks()[rank]

    def _buffer(self, rank: int, name: str, elements: int) -> View:
        return Buffer(self.group.devices[rank], self.group.tiers[rank], name, self.dtype, (elements,)).view()
