"""What an MSCCL file says, as frozen values.

A program has one list of threadblocks per rank; a threadblock has at most one rank that it sends to and one that it
receives from, and runs its steps in order. Messages between two ranks on one channel arrive in the order in which they
were sent. Other threadblocks of the rank are waited for with ``depid`` (which) and ``deps`` (its step).

======  ==========================================================================
``s``   sends the source
``r``   receives into the destination
``rcs`` receives into the destination and sends the same on
``rrs`` sends what arrives plus the source
``rrc`` destination becomes what arrives plus the source
``rrcs`` the same, and sends it on
``cpy`` destination becomes the source
``re``  destination becomes destination plus source
``nop`` waits
======  ==========================================================================

Source: the format as msccl-tools writes it (microsoft/msccl-tools, msccl/language/ir.py) and the interpreter reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

SENDS = ("s", "rcs", "rrs", "rrcs")
RECEIVES = ("r", "rcs", "rrs", "rrc", "rrcs")
READS = ("s", "rrs", "rrc", "rrcs", "cpy", "re")
WRITES = ("r", "rcs", "rrc", "rrcs", "cpy", "re")
TYPES = ("s", "r", "rcs", "rrs", "rrc", "rrcs", "cpy", "re", "nop")
BUFFERS = {"i": "input", "o": "output", "s": "scratch"}


@dataclass(frozen=True, slots=True)
class MscclStep:
    """One step.

    Attributes:
        number: in its threadblock.
        type: one of `TYPES`.
        source, destination: (buffer, first chunk); meaning depends on the type.
        count: chunks.
        waits_for: (threadblock, step) of the same rank that must have ended; None for nothing.
        line: in the file.
    """

    number: int
    type: str
    source: tuple[str, int]
    destination: tuple[str, int]
    count: int
    waits_for: tuple[int, int] | None
    line: int


@dataclass(frozen=True, slots=True)
class Threadblock:
    """One threadblock.

    Attributes:
        number: in its rank.
        send, receive: ranks; -1 for none.
        channel: of both connections.
        steps: in order.
    """

    number: int
    send: int
    receive: int
    channel: int
    steps: tuple[MscclStep, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """One algorithm.

    Attributes:
        path: of the file.
        name: as it says.
        collective: in our words (``all_reduce``).
        ranks: threadblocks by rank.
        chunks: parts that the longer of input and output is cut into.
        scratch: chunks of scratch by rank.
        in_place, out_of_place: which of the two it is written for.
        least_bytes, most_bytes: sizes that it is meant for [bytes]; 0 for any.
    """

    path: str
    name: str
    collective: str
    ranks: tuple[tuple[Threadblock, ...], ...]
    chunks: int
    scratch: tuple[int, ...]
    in_place: bool
    out_of_place: bool
    least_bytes: int
    most_bytes: int

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self.ranks)

    def chunks_of(self, buffer: str, rank: int) -> int:
        """How many chunks ``i``, ``o`` or ``s`` has at a rank."""
        if buffer == "s":
            return self.scratch[rank]
        whole = self.collective in ("all_reduce", "all_to_all")
        shorter = {"all_gather": "i", "reduce_scatter": "o"}.get(self.collective)
        return self.chunks if whole or buffer != shorter else self.chunks // self.world_size
