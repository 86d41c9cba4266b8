"""Runs a job step by step from executed collectives, and says what its telemetry would record.

A step takes arithmetic on arrays instead of an execution: its collectives were executed once for each set of changed
components (`executed`), and noise is added to what they took. Faults come in as the changes of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from controller.diagnosis.executed import NO_CHANGES, Changes
from controller.diagnosis.noise import NoiseBlock
from controller.diagnosis.telemetry import (
    AgentReport,
    JobStarted,
    OperationRecords,
    Ranks,
    SignsOfLife,
    TelemetryEvent,
    TransportRecords,
)
from controller.diagnosis.workloads import SlotOutcome, Times, Workload

HEARTBEAT_S = 1.0
AGENT_S = 2.0
"""After this long the agent of a host has seen that a process is gone or stopped [s]; assumed."""
COLLECT_S = 0.05
"""From the end of an operation until the collector has its records [s]; assumed."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What faults do to a job in one step.

    Attributes:
        changes: of the hardware that carries messages and runs kernels.
        slow: factor on what each rank computes, by rank.
        absent: ranks that never come to their next operation.
    """

    changes: Changes = NO_CHANGES
    slow: tuple[tuple[int, float], ...] = ()
    absent: tuple[int, ...] = ()


HEALTHY = Strike()


class Replay:
    """A job as it goes on; the same noise with and without a fault makes twins.

    Args:
        workload: what a step does.
        hosts: of each rank.
        compute_s: what a rank of the first stage computes in a step [s].
        noise: of this run; its blocks are drawn as steps need them.
    """

    def __init__(
        self, workload: Workload, hosts: tuple[str, ...], compute_s: float, noise: Sequence[NoiseBlock]
    ) -> None:
        self._workload, self._noise = workload, noise
        self._compute_s = compute_s * workload.stage_load
        self._ready_at: Times = np.zeros(len(workload.devices))
        self.started = JobStarted(0.0, workload.devices, hosts, workload.communicators, workload.roles)
        self._entered = np.zeros(len(workload.devices), np.int64)
        self.stopped = False
        self.now = 0.0

    def copy(self) -> Replay:
        """The same job at the same instant, which goes on by itself."""
        made = copy(self)
        made._entered = self._entered.copy()
        return made

    def step(self, step: int, strike: Strike = HEALTHY, number: int | None = None) -> list[TelemetryEvent]:
        """What the collector gets of one step, in order of instants; what never ends is given with inf.

        Args:
            step: place of the step in the noise.
            strike: what faults do.
            number: of the step; `step` where the noise is that of the whole run.
        """
        number = step if number is None else number
        block, row = divmod(step, len(self._noise[0].compute))
        drawn = self._noise[block]
        compute_s = self._compute_s * drawn.compute[row] + drawn.added_s[row]
        for rank, factor in strike.slow:
            compute_s[rank] *= factor
        compute_s[list(strike.absent)] = np.inf
        outcomes = self._workload.step(self._ready_at, compute_s, drawn.messages[row], strike.changes)
        self._ready_at = np.max([each.done_at for each in outcomes], axis=0)
        self._entered = self._entered + sum(np.isfinite(each.entered_at).astype(np.int64) for each in outcomes)
        self.stopped = not bool(np.isfinite(self._ready_at).all())
        events = [
            event for seq, each in enumerate(outcomes) for event in _records(number, number * len(outcomes) + seq, each)
        ]
        events.sort(key=lambda event: event.at_s)
        self.now = float(np.max(self._ready_at)) if not self.stopped else self.now
        return events

    def heartbeats(self, at_s: float, silent: Sequence[int] = ()) -> SignsOfLife:
        """Signs of life of all ranks but the silent ones."""
        ranks = np.setdiff1d(np.arange(len(self._entered)), np.array(silent, np.int64))
        return SignsOfLife(at_s, ranks, self._entered[ranks])


def agent_report(at_s: float, gone: Sequence[int], stopped: Sequence[int]) -> AgentReport:
    """What the agents of the hosts say of processes that are gone or stand still."""
    return AgentReport(at_s, tuple(sorted(gone)), tuple(sorted(stopped)))


def _records(step: int, seq: int, outcome: SlotOutcome) -> list[TelemetryEvent]:
    there = np.isfinite(outcome.entered_at)
    done = there & np.isfinite(outcome.done_at)
    waited = np.where(np.isfinite(outcome.waited_s), outcome.waited_s, 0.0)
    heard = there[outcome.target]
    last_at = float(outcome.done_at[done].max(initial=0.0))
    if not done.all():
        last_at = max(last_at, float(outcome.entered_at[there].max(initial=0.0)))
    transport = TransportRecords(
        last_at + COLLECT_S, step, seq, outcome.what, outcome.source[heard], outcome.target[heard],
        outcome.moved_bytes[heard], outcome.begun_bytes[heard], outcome.due_bytes[heard], waited[heard],
        outcome.transferred_s[heard],
    )  # fmt: skip
    operations = [] if not done.any() else [_operation(step, seq, outcome, np.flatnonzero(done))]
    # Of what never ends each rank's entry is all there is.
    operations += [_operation(step, seq, outcome, np.array([rank])) for rank in np.flatnonzero(there & ~done)]
    return [*operations, transport]


def _operation(step: int, seq: int, outcome: SlotOutcome, ranks: Ranks) -> OperationRecords:
    entered_at, done_at = outcome.entered_at[ranks], outcome.done_at[ranks]
    at_s = float(np.where(np.isfinite(done_at), done_at, entered_at).max()) + COLLECT_S
    own_s = np.where(np.isfinite(outcome.own_s), outcome.own_s, 0.0)[ranks]
    return OperationRecords(
        at_s, step, seq, outcome.what, ranks, outcome.communicator[ranks], outcome.peer[ranks], entered_at, done_at,
        own_s,
    )  # fmt: skip
