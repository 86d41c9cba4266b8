"""Messages of one operation, summed up by pair of ranks: what a transport layer records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairRecords:
    """Sums over the messages of each pair, in order of the pairs (m).

    Attributes:
        source, target: ranks.
        moved_bytes, begun_bytes, due_bytes: what came, what its sender was ready to send, and what was to come [bytes].
        waited_s: that the receiver waited for messages to begin [s].
        transferred_s: that messages took once they had begun [s].
    """

    source: Numbers
    target: Numbers
    moved_bytes: Times
    begun_bytes: Times
    due_bytes: Times
    waited_s: Times
    transferred_s: Times


def pair_records(
    source: Numbers, target: Numbers, work: Times, start_at: Times, end_at: Times, arrival_s: Times
) -> PairRecords:
    """Sums up messages; those that never started or ended have an instant that is not finite.

    Args:
        source, target: of each message; -1 for what is none (k).
        work: of each message [bytes] (k).
        start_at, end_at: instants [s] (k).
        arrival_s: when each rank was ready to receive [s] (n).
    """
    size = len(arrival_s)
    rows = np.flatnonzero((source >= 0) & (source != target))
    pair = source[rows] * size + target[rows]
    begin = np.where(np.isfinite(start_at), start_at, np.inf)
    finish = np.where(np.isfinite(end_at), end_at, np.inf)
    rows = rows[np.lexsort((begin[rows], pair))]
    pair = source[rows] * size + target[rows]
    known, first, of_pair = np.unique(pair, return_index=True, return_inverse=True)
    before = np.empty(len(rows))
    before[1:] = finish[rows[:-1]]
    before[first] = arrival_s[known % size]
    came, begun = np.isfinite(end_at[rows]), np.isfinite(start_at[rows])
    with np.errstate(invalid="ignore"):
        waits = np.where(came, np.maximum(begin[rows] - before, 0.0), 0.0)
        takes = np.where(came, finish[rows] - np.maximum(begin[rows], before), 0.0)

    def by_pair(values: Times) -> Times:
        return np.bincount(of_pair, values, len(known)).astype(np.float64)

    due = work[rows]
    return PairRecords(
        known // size, known % size, by_pair(due * came), by_pair(due * begun), by_pair(due), by_pair(waits),
        by_pair(takes),
    )  # fmt: skip
