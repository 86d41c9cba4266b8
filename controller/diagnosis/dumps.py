"""What one rank's Flight Recorder holds, as data: its communicators and the operations that it issued."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controller.diagnosis.telemetry import Communicator

_PAIR = re.compile(r"(send|recv) (\d+)(->|<-)(\d+)$")


@dataclass(frozen=True, slots=True)
class RecordedOp:
    """One operation that a rank issued.

    Attributes:
        record_id: its number on the rank; a rank issues operations in this order.
        communicator: whose operation it is.
        group_number: under which the rank keeps the progress of the communicator; None where the dump lacks it.
        seq: its number in the communicator, counted apart for collectives and for messages of a pair.
        is_p2p: whether it is a message of a pair.
        what: ``all_reduce``, ``send 0->1``, without the backend.
        state: ``scheduled``, ``started`` or ``completed``.
        created_ns: when it was issued [ns].
        sizes: of its inputs and of its outputs.
        dtypes: of its inputs and of its outputs.
    """

    record_id: int
    communicator: Communicator
    group_number: int | None
    seq: int
    is_p2p: bool
    what: str
    state: str
    created_ns: int
    sizes: tuple[object, object]
    dtypes: tuple[object, object]

    @property
    def pair(self) -> tuple[int, int] | None:
        """Sender and receiver in the job's numbering; None for a collective."""
        found = _PAIR.search(self.what)
        if found is None:
            return None
        own, other = int(found[2]), int(found[4])
        ends = (own, other) if found[1] == "send" else (other, own)
        ranks = self.communicator.ranks
        return (ranks[ends[0]], ranks[ends[1]]) if max(ends) < len(ranks) else None

    def __str__(self) -> str:
        return f"{self.what} number {self.seq} of {self.communicator}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rank has come in a communicator: numbers of the last operation issued and completed; -1 for none."""

    issued: int
    completed: int


@dataclass(frozen=True, slots=True)
class RankDump:
    """The dump of one rank.

    Attributes:
        rank: as the file's name says.
        source: the file.
        version: of the format.
        communicators: that the rank belongs to.
        ops: what the recorder still held, in the order of issue.
        progress: by the rank's own number of the communicator; empty where the dump has none.
    """

    rank: int
    source: str
    version: str
    communicators: tuple[Communicator, ...]
    ops: tuple[RecordedOp, ...]
    progress: Mapping[int, Progress]

    @property
    def waiting_in(self) -> RecordedOp | None:
        """The first operation that has not completed; None when all have."""
        return next((op for op in self.ops if op.state != "completed"), None)
