"""What several detectors keep of a job: recent steps in columns, and the operations that are still open."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.telemetry import JobStarted, OperationRecords, TransportRecords
from controller.faults.wait_for import Wait, WaitForGraph

Times = NDArray[np.float64]


class StepColumns:
    """Values by step and series, the last `window` steps of them; records of a step may come in any order.

    Args:
        series: how many.
        window: steps that are kept.
    """

    def __init__(self, series: int, window: int) -> None:
        self._values = np.full((window, series), np.nan)
        self._step_of = np.full(window, -1, np.int64)
        self._sums, self._counts = np.zeros(series), np.zeros(series, np.int64)
        self.last_step = -1

    def add(self, step: int, series: NDArray[np.int64], values: Times) -> None:
        """Keeps the values of one step; a step so long ago that its place is taken is dropped."""
        window = len(self._step_of)
        row = step % window
        if self._step_of[row] > step:
            return
        for skipped in range(max(self.last_step + 1, step - window + 1), step + 1):
            self._forget(skipped % window, skipped)
        if self._step_of[row] != step:
            self._forget(row, step)
        self._count(self._values[row, series], series, -1)
        self._values[row, series] = values
        self._count(values, series, 1)
        self.last_step = max(self.last_step, step)

    def latest(self, count: int, until: int | None = None) -> Times:
        """Values of the `count` steps up to `until`, in order (count, series); NaN where none came."""
        last = self.last_step if until is None else until
        steps = np.arange(last - count + 1, last + 1)
        rows = steps % len(self._step_of)
        found = self._values[rows]
        if (self._step_of[rows] != steps).any():
            found[self._step_of[rows] != steps] = np.nan
        return found

    def means(self, least: int) -> Times:
        """Means over the whole window; -inf for series with fewer than `least` values (series)."""
        return np.where(self._counts >= least, self._sums / np.maximum(self._counts, 1), -np.inf)

    def _forget(self, row: int, step: int) -> None:
        self._count(self._values[row], slice(None), -1)
        self._values[row] = np.nan
        self._step_of[row] = step

    def _count(self, values: Times, series: NDArray[np.int64] | slice, sign: int) -> None:
        known = np.isfinite(values)
        self._sums[series] += sign * np.where(known, values, 0.0)
        self._counts[series] += sign * known


@dataclass(slots=True)
class OpenOperations:
    """Operations that ranks have entered and not ended, and who is not there yet.

    Attributes:
        job: the ranks and communicators.
        entered: rank to (communicator, seq, what, instant, peer) of what it waits in.
        reached: (communicator, seq) to the ranks that have entered it.
        last_done: number of the last operation that each rank has ended; it has entered all before (n).
    """

    job: JobStarted
    entered: dict[int, tuple[int, int, str, float, int]] = field(default_factory=dict)
    reached: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    last_done: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.last_done = np.full(len(self.job.devices), -1, np.int64)

    def add(self, event: OperationRecords) -> None:
        """Takes the records of one operation."""
        done = np.isfinite(event.done_at)
        ranks = event.ranks[done]
        self.last_done[ranks] = np.maximum(self.last_done[ranks], event.seq)
        if done.all():
            for rank in event.ranks.tolist() if self.entered else ():
                known = self.entered.get(rank)
                if known is not None and known[1] <= event.seq:
                    del self.entered[rank]
            return
        columns = zip(
            event.ranks.tolist(), event.communicator.tolist(), event.entered_at.tolist(), done.tolist(),
            event.peer.tolist(), strict=True,
        )  # fmt: skip
        for rank, communicator, entered_at, is_done, peer in columns:
            if not np.isfinite(entered_at):
                continue
            self.reached.setdefault((communicator, event.seq), set()).add(rank)
            known = self.entered.get(rank)
            if is_done:
                if known is not None and known[1] <= event.seq:
                    del self.entered[rank]
            elif known is None or (entered_at, communicator) < (known[3], known[0]):
                self.entered[rank] = (communicator, event.seq, event.what, entered_at, peer)

    @property
    def since(self) -> float:
        """When the first of them was entered [s]; inf when none is open."""
        return min((entry[3] for entry in self.entered.values()), default=np.inf)

    def graph(self, stalled: Collection[tuple[int, int]] = (), silent: Collection[int] = ()) -> WaitForGraph[int | str]:
        """Who waits for whom: every rank for the members that have not entered what it has.

        Where all members are there, or the message is on its way, a rank waits for the operation itself, which is a
        node of its own, by its name.

        Args:
            stalled: pairs whose sender has begun and whose messages do not come.
            silent: ranks without a sign of life; what they waited for when they were last heard of says nothing.
        """
        waits: list[Wait[int | str]] = []
        for rank, (communicator, seq, what, _, peer) in sorted(self.entered.items()):
            if rank in silent:
                continue
            group = self.job.communicators[communicator]
            here = self.reached[communicator, seq]
            awaited = (
                [member for member in group.ranks if member not in here and self.last_done[member] < seq]
                if peer < 0
                else [peer]
            )
            if (peer, rank) in stalled and peer not in silent:
                awaited = []
            text = f"{what} number {seq} of {group}"
            ahead: list[int | str] = [*awaited] if awaited else [text]
            waits += [Wait(rank, member, text) for member in ahead]
        return WaitForGraph(waits)


class StalledTransfers:
    """Pairs of the operation that stands still whose sender is ready and whose messages do not come."""

    def __init__(self) -> None:
        self._stalled: dict[tuple[int, int], None] = {}

    def add(self, event: TransportRecords) -> None:
        """Takes records; those of the next operation that goes well clear what stood still before."""
        stalled = event.begun_bytes > event.moved_bytes
        for source, target in zip(event.source[stalled].tolist(), event.target[stalled].tolist(), strict=True):
            self._stalled[source, target] = None

    def clear(self) -> None:
        """Forgets them."""
        self._stalled.clear()

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs, in order."""
        return tuple(sorted(self._stalled))


def ends_shared(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """How many of the pairs each rank takes part in."""
    counts: dict[int, int] = {}
    for source, target in pairs:
        counts[source] = counts.get(source, 0) + 1
        counts[target] = counts.get(target, 0) + 1
    return counts
