"""What a collective library would have recorded of a run, made from what its ops took (`controller.execute.op_log`).

Every device that takes part is a rank, and every execution of a plan is one operation: a rank enters it with its first
op and is done with its last one; what its kernels took is its own, and every move between two devices is a message. A
rank that is dead or frozen records nothing more; what it and its peers had begun then never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.pair_records import pair_records
from controller.diagnosis.replay import COLLECT_S
from controller.diagnosis.telemetry import Communicator, JobStarted, OperationRecords, TelemetryEvent, TransportRecords
from controller.execute.op_log import LoggedPlan, OpLog
from controller.topology.schema import Topology

Numbers = NDArray[np.int64]
Times = NDArray[np.float64]
Silent = Callable[[str, float], bool]
"""Whether a device gives no sign of life at an instant [s]."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Records of one execution, in ranks of the job and times from its submission."""

    ranks: Numbers
    peer: Numbers
    entered_s: Times
    done_s: Times
    own_s: Times
    pairs: tuple[Numbers, Numbers, Times, Times, Times, Times, Times]


class RunTelemetry:
    """The events of a run.

    Args:
        topology: the declared cluster.
        log: what ops took.
        silent: of whom nothing is heard when.
    """

    def __init__(self, topology: Topology, log: OpLog, silent: Silent) -> None:
        self._log, self._silent = log, silent
        taking_part = {device for _, plan in log.plans for device in plan.devices}
        self.devices = tuple(name for name in topology.devices if name in taking_part)
        self._rank_of = {device: rank for rank, device in enumerate(self.devices)}
        groups = dict.fromkeys(tuple(sorted(self._rank_of[each] for each in plan.devices)) for _, plan in log.plans)
        self._group_of = {ranks: number for number, ranks in enumerate(groups)}
        self.started = JobStarted(
            0.0, self.devices, tuple(topology.devices[name].host for name in self.devices),
            tuple(Communicator(f"group{number}", ranks) for ranks, number in self._group_of.items()),
            self._roles(topology),
        )  # fmt: skip
        self._known: dict[int, _Recorded] = {}

    def events(self) -> Iterator[TelemetryEvent]:
        """What the collector gets, in order of instants."""
        counts: dict[str, int] = {}
        found: list[TelemetryEvent] = []
        for seq, (at_s, plan) in enumerate(self._log.plans):
            step = counts.get(plan.name, 0)
            counts[plan.name] = step + 1
            found += self._of(at_s, plan, step, seq)
        return iter(sorted(found, key=lambda event: event.at_s))

    def _of(self, at_s: float, plan: LoggedPlan, step: int, seq: int) -> list[TelemetryEvent]:
        records = self._known.setdefault(id(plan), self._recorded(plan))
        entered_at, done_at = at_s + records.entered_s, at_s + records.done_s
        last = np.where(np.isfinite(done_at), done_at, entered_at)
        heard = np.array(
            [
                np.isfinite(entered) and not self._silent(self.devices[rank], float(until))
                for rank, entered, until in zip(records.ranks.tolist(), entered_at.tolist(), last.tolist(), strict=True)
            ],
            bool,
        )
        done = heard & np.isfinite(done_at)
        group = self._group_of[tuple(sorted(self._rank_of[each] for each in plan.devices))]
        found: list[TelemetryEvent] = []
        # What never ends is known by each rank's entry alone.
        batches = [np.flatnonzero(done)] if done.any() else []
        for rows in [*batches, *(np.array([row]) for row in np.flatnonzero(heard & ~done))]:
            found.append(
                OperationRecords(
                    float(last[rows].max()) + COLLECT_S, step, seq, plan.name, records.ranks[rows],
                    np.full(len(rows), group), records.peer[rows], entered_at[rows], done_at[rows], records.own_s[rows],
                )
            )  # fmt: skip
        source, target, moved, begun, due, waited, took = records.pairs
        until_s = float(last[heard].max()) if heard.any() else at_s
        if len(source):
            found.append(
                TransportRecords(
                    until_s + COLLECT_S, step, seq, plan.name, source, target, moved, begun, due, waited, took
                )
            )
        return found

    def _recorded(self, plan: LoggedPlan) -> _Recorded:
        ranks = np.array([self._rank_of[device] for device in plan.devices], np.int64)
        size = len(ranks)
        entered, done, own = np.full(size, np.inf), np.zeros(size), np.zeros(size)
        start_s = np.where(np.isfinite(plan.start_s), plan.start_s, np.inf)
        end_s = np.where(np.isfinite(plan.end_s), plan.end_s, np.inf)
        for column in (plan.source, plan.target, plan.kernel):
            there = column >= 0
            np.minimum.at(entered, column[there], start_s[there])
            np.maximum.at(done, column[there], end_s[there])
        ran = (plan.kernel >= 0) & np.isfinite(end_s)
        np.add.at(own, plan.kernel[ran], end_s[ran] - start_s[ran])
        if not len(plan.end_s):  # refused before it began: everybody waits for who is gone
            entered, done = np.zeros(size), np.full(size, np.inf)
        peer = np.full(size, -1)
        open_ops = np.flatnonzero((plan.source >= 0) & ~np.isfinite(end_s))
        # Ops stand in an order that their edges follow, so the first open one of a rank is what holds it up.
        for op in open_ops[::-1].tolist():
            a, b = int(plan.source[op]), int(plan.target[op])
            peer[a], peer[b] = ranks[b], ranks[a]
        entered = np.where((peer >= 0) & ~np.isfinite(entered), 0.0, entered)
        pairs = pair_records(plan.source, plan.target, plan.work, plan.start_s, plan.end_s, np.zeros(size))
        return _Recorded(
            ranks, peer, entered, np.where(peer >= 0, np.inf, done), own,
            (ranks[pairs.source], ranks[pairs.target], pairs.moved_bytes, pairs.begun_bytes, pairs.due_bytes,
             pairs.waited_s, pairs.transferred_s),
        )  # fmt: skip

    def _roles(self, topology: Topology) -> tuple[int, ...]:
        """Devices of one product that run the same kernels in the first plan of each name share a role."""
        work: dict[str, dict[tuple[str, str], int]] = {device: {} for device in self.devices}
        seen: set[str] = set()
        for _, plan in self._log.plans:
            if plan.name in seen:
                continue
            seen.add(plan.name)
            for at, label in zip(plan.kernel.tolist(), plan.label, strict=True):
                if at >= 0:
                    own = work[plan.devices[at]]
                    own[plan.name, label] = own.get((plan.name, label), 0) + 1
        number_of: dict[object, int] = {}
        return tuple(
            number_of.setdefault(
                (topology.devices[name].spec.product, tuple(sorted(work[name].items()))), len(number_of)
            )
            for name in self.devices
        )
