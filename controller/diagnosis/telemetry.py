"""What a collective library records of a job, as events; all that a detector ever sees.

Records come in columns, one event for an operation of all communicators of a kind: a Python object for every rank and
pair would cost more than the judgement. Ranks and pairs stand in any order within an event, and events of one instant
in any order.

Every duration is measured on one clock, that of the rank which waits or receives, so an offset between clocks changes
instants and no duration. What has not happened is inf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, order=True)
class Communicator:
    """A process group.

    Attributes:
        name: as the job calls it.
        ranks: its members in the job's numbering, in order.
        purpose: what it is for, such as ``TENSOR_MODEL_PARALLEL_GROUP``.
    """

    name: str
    ranks: tuple[int, ...]
    purpose: str = ""

    def __str__(self) -> str:
        return f"{self.purpose or 'group'} {self.name}"


@dataclass(frozen=True, slots=True)
class JobStarted:
    """What is known of a job before its first step.

    Attributes:
        at_s: instant [s].
        devices: of each rank, by name.
        hosts: of each rank, by name.
        communicators: all of them.
        roles: of each rank, a number that ranks share which do the same work, as a pipeline stage does.
    """

    at_s: float
    devices: tuple[str, ...]
    hosts: tuple[str, ...]
    communicators: tuple[Communicator, ...]
    roles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OperationRecords:
    """One operation of communicators of one kind in one step, on every rank that recorded it.

    Attributes:
        at_s: when the collector has it [s].
        step: of training.
        seq: number of the operation in its communicator.
        what: ``all_reduce``, ``all_to_all``, ``send_recv``.
        ranks: whose records these are (n).
        communicator: of each, as its index in `JobStarted.communicators` (n).
        peer: rank that each waits for in a message; -1 in a collective, where all members are waited for (n).
        entered_at, done_at: instants on the rank's clock [s] (n).
        own_s: what the rank did between the operation before and this one, waiting for nobody [s] (n).
    """

    at_s: float
    step: int
    seq: int
    what: str
    ranks: Ranks
    communicator: Ranks
    peer: Ranks
    entered_at: Times
    done_at: Times
    own_s: Times


@dataclass(frozen=True, slots=True)
class TransportRecords:
    """Messages of one operation, summed up by pair of ranks.

    Attributes:
        at_s: when the collector has it [s].
        step: of training.
        seq: number of the operation in its communicator.
        what: of the operation.
        source, target: ranks of each pair (m).
        moved_bytes: that arrived [bytes] (m).
        begun_bytes: that the sender was ready to send [bytes] (m).
        due_bytes: that were to come [bytes] (m).
        waited_s: that the receiver, being ready, waited for messages to begin [s] (m).
        transferred_s: that messages took from the first byte to the last [s] (m).
    """

    at_s: float
    step: int
    seq: int
    what: str
    source: Ranks
    target: Ranks
    moved_bytes: Times
    begun_bytes: Times
    due_bytes: Times
    waited_s: Times
    transferred_s: Times


@dataclass(frozen=True, slots=True)
class SignsOfLife:
    """Signs of life.

    Attributes:
        at_s: instant [s].
        ranks: that gave one (n).
        entered: how many operations each has entered since the start, over all communicators (n).
    """

    at_s: float
    ranks: Ranks
    entered: Ranks


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What the agent of a host says about its processes.

    Attributes:
        at_s: instant [s].
        gone: ranks whose process has ended.
        stopped: ranks whose process stands still.
    """

    at_s: float
    gone: tuple[int, ...]
    stopped: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """What probes measured.

    Attributes:
        at_s: when they were done [s].
        kind: ``gemm`` on a rank, or ``p2p`` from one to another.
        source, target: of each probe; the same rank twice for ``gemm`` (m).
        took_s: durations [s] (m).
    """

    at_s: float
    kind: str
    source: Ranks
    target: Ranks
    took_s: Times


TelemetryEvent = JobStarted | OperationRecords | TransportRecords | SignsOfLife | AgentReport | ProbeResults
