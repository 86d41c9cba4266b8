"""Keeps what a report shows of a run: the delay matrix, and who waited for whom when the job stood still."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.job_state import OpenOperations, StalledTransfers
from controller.diagnosis.telemetry import JobStarted, OperationRecords, SignsOfLife, TelemetryEvent, TransportRecords
from controller.diagnosis.verdicts import NOTHING, Answer
from controller.diagnosis.wait_matrix import WaitMatrix

SILENT_S = 3.5
"""A rank that was last heard of so long before the others is taken to wait for nobody [s]."""


class Witness:
    """A detector that says nothing."""

    def __init__(self) -> None:
        self._matrix = WaitMatrix()
        self._open: OpenOperations | None = None
        self._stalled = StalledTransfers()
        self._heard_at: NDArray[np.float64] = np.zeros(0)

    def observe(self, event: TelemetryEvent | None, now: float) -> Answer:
        """Takes an event."""
        if event is not None:
            self._matrix.add(event)
        if isinstance(event, JobStarted):
            self._open = OpenOperations(event)
            self._heard_at = np.zeros(len(event.devices))
        elif isinstance(event, SignsOfLife):
            self._heard_at[event.ranks] = event.at_s
        elif isinstance(event, OperationRecords) and self._open is not None:
            self._open.add(event)
        elif isinstance(event, TransportRecords):
            self._stalled.add(event)
        return NOTHING

    @property
    def delays_s(self) -> NDArray[np.float64]:
        """How long rank i waited for and received from rank j [s] (n, n); NaN where they exchange nothing."""
        return np.where(self._matrix.messages > 0, self._matrix.waits, np.nan)

    def waits(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Waiter and awaited of every edge, by name, and who is waited for and waits for nobody."""
        if self._open is None or not self._open.entered:
            return [], []
        silent = np.flatnonzero(self._heard_at < self._heard_at.max() - SILENT_S).tolist()
        graph, devices = self._open.graph(self._stalled.pairs, silent), self._open.job.devices

        def name(node: int | str) -> str:
            return devices[node] if isinstance(node, int) else node

        roots = [name(node) for members in graph.roots() for node in members]
        return [(name(wait.waiter), name(wait.awaited)) for wait in graph.waits], roots
