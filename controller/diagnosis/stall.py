"""Operations that never end: who holds them up, by the graph of who waits for whom."""

from __future__ import annotations

from math import inf

import numpy as np

from controller.diagnosis.blame import blame_pairs
from controller.diagnosis.job_state import OpenOperations, StalledTransfers
from controller.diagnosis.telemetry import (
    AgentReport,
    JobStarted,
    OperationRecords,
    SignsOfLife,
    TelemetryEvent,
    TransportRecords,
)
from controller.diagnosis.verdicts import Suspect, Verdict


class StallWatch:
    """Gathers what is open, and names who is waited for and waits for nobody."""

    def __init__(self) -> None:
        self.job: JobStarted | None = None
        self._open: OpenOperations | None = None
        self._stalled = StalledTransfers()
        self.heard_at: np.ndarray[tuple[int], np.dtype[np.float64]] = np.zeros(0)
        self.lost: set[int] = set()
        self._pairs: set[tuple[int, int]] = set()

    def add(self, event: TelemetryEvent) -> None:
        """Takes an event."""
        if isinstance(event, JobStarted):
            self.job, self._open = event, OpenOperations(event)
            self.heard_at = np.zeros(len(event.devices))
        elif isinstance(event, SignsOfLife):
            self.heard_at[event.ranks] = np.maximum(self.heard_at[event.ranks], event.at_s)
            self.lost -= set(event.ranks.tolist()) if self.lost else set()
        elif isinstance(event, AgentReport):
            self.lost |= {*event.gone, *event.stopped}
        elif self._open is not None and isinstance(event, OperationRecords):
            self._open.add(event)
        elif isinstance(event, TransportRecords):
            self._stalled.add(event)
            if len(self._pairs) < len(event.source):
                self._pairs |= set(zip(event.source.tolist(), event.target.tolist(), strict=True))

    @property
    def since(self) -> float:
        """When the first open operation was entered [s]; inf when none is."""
        return inf if self._open is None else self._open.since

    def verdicts(self, now: float, silent_s: float, stuck_s: float) -> tuple[Verdict, ...]:
        """Who holds up the others.

        Args:
            now: instant [s].
            silent_s: a rank without a sign of life for so long is dead [s].
            stuck_s: one with signs of life is in a hang when others have waited for so long [s].
        """
        if self._open is None or self.job is None or not self._open.entered:
            return ()
        silent = self._silent(now, silent_s)
        graph = self._open.graph(self._stalled.pairs, silent)
        roots = [members[0] for members in graph.roots() if len(members) == 1]
        is_stuck = now - self.since > stuck_s
        found = list(self._links()) if is_stuck and (not roots or any(isinstance(node, str) for node in roots)) else []
        for rank in roots:
            if isinstance(rank, str):
                continue
            dead = rank in silent
            if not dead and not is_stuck:
                continue
            victims = len(graph.held_up_by(rank))
            what = next((wait.what for wait in graph.waits if wait.awaited == rank), "")
            evidence = f"{victims} ranks wait for it in {what}" + (", and it gives no sign of life" if dead else "")
            found.append(
                Verdict(
                    Suspect("device", self.job.devices[rank]),
                    "dead" if dead else "hang",
                    self.since,
                    inf,
                    1.0,
                    evidence,
                )
            )
        return tuple(found)

    def silent(self, now: float, silent_s: float) -> bool:
        """Whether a rank that others wait for gives no sign of life."""
        if self._open is None or not self._open.entered:
            return False
        silent = self._silent(now, silent_s)
        if not silent:
            return False
        graph = self._open.graph(self._stalled.pairs, silent)
        return any(members[0] in silent for members in graph.roots() if len(members) == 1)

    def _silent(self, now: float, silent_s: float) -> frozenset[int]:
        return frozenset(np.flatnonzero(now - self.heard_at > silent_s).tolist()) | self.lost

    def _links(self) -> tuple[Verdict, ...]:
        assert self.job is not None, "a job has started"
        pairs = self._stalled.pairs
        blamed = blame_pairs(dict.fromkeys(pairs, inf), self._pairs, self.job.devices)
        evidence = f"all ranks are in the operation, and what {len(pairs)} senders have begun does not come"
        return tuple(Verdict(suspect, "dead link", self.since, inf, 0.9, evidence) for suspect in sorted(blamed))
