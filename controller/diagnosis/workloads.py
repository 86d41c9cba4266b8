"""What one training step does on every rank: compute, then operations of communicators, as arithmetic on arrays.

``ring``, ``tree`` and ``all_to_all`` have one communicator of all ranks and one operation a step. ``tpT.ppP.dpD`` nests
three kinds (`nested_workload`). Instants are arrays over ranks; inf stands for what never happens, and spreads by
itself to whoever waits for it: who waits in what is then read off, for every shape alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controller.collectives.call import Call
from controller.collectives.group import Group
from controller.diagnosis.executed import Changes, CollectiveExecution, ExecutedCollective, Executions
from controller.diagnosis.telemetry import Communicator

Times = NDArray[np.float64]
Numbers = NDArray[np.int64]
ELEMENTS = 1 << 24
"""Elements of a collective's message: 64 MiB of fp32, a bucket of gradients."""
DIRECT_UP_TO = 32
"""Ranks above which an all-to-all goes by hosts first, as libraries for experts do it between many hosts."""


@dataclass(slots=True)
class SlotOutcome:
    """One kind of operation of a step on all ranks.

    Attributes:
        what: ``all_reduce``, ``all_to_all`` or ``send_recv``.
        communicator: of each rank (n).
        peer: rank that each waits for in a message, else -1 (n).
        entered_at, done_at: instants [s] (n).
        own_s: what each rank did on its own before [s] (n).
        source, target: pairs that exchange messages (m).
        moved_bytes, begun_bytes, due_bytes: what came, what was begun and what was to come [bytes] (m).
        waited_s, transferred_s: see `controller.diagnosis.telemetry.TransportRecords` [s] (m).
    """

    what: str
    communicator: Numbers
    peer: Numbers
    entered_at: Times
    done_at: Times
    own_s: Times
    source: Numbers
    target: Numbers
    moved_bytes: Times
    begun_bytes: Times
    due_bytes: Times
    waited_s: Times
    transferred_s: Times


class Workload(Protocol):
    """What a campaign runs.

    Attributes:
        executions: of its collectives.
        devices: of the ranks.
        communicators: all of them.
        roles: of each rank; ranks of one role do the same work.
        replica: of each rank, which share of the data it works on (n).
        stage_load: how much more a rank computes than the first stage does (n).
        pairs: source and target of every pair whose messages have noise (m).
    """

    executions: Executions
    devices: tuple[str, ...]
    communicators: tuple[Communicator, ...]
    roles: tuple[int, ...]
    replica: Numbers
    stage_load: Times

    @property
    def pairs(self) -> tuple[Numbers, Numbers]:
        """Source and target of every pair of ranks that exchange messages, in order."""
        ...

    def step(self, ready_at: Times, compute_s: Times, factor: Times, changes: Changes) -> list[SlotOutcome]:
        """Runs one step.

        Args:
            ready_at: when each rank begins [s] (n).
            compute_s: that each computes; inf for one that never comes to its operation [s] (n).
            factor: times longer that the messages of each pair take (m).
            changes: of the hardware.
        """
        ...

    def pairs_over(self, link: str) -> frozenset[tuple[int, int]]:
        """Pairs of ranks whose messages go over a link."""
        ...


@dataclass(slots=True)
class SingleWorkload:
    """Compute, then one collective over all ranks.

    Attributes:
        executions: that run the collective.
        group: the ranks.
        collective, algorithm: of the table.
    """

    executions: Executions
    group: Group
    collective: str
    algorithm: str
    devices: tuple[str, ...] = field(init=False)
    communicators: tuple[Communicator, ...] = field(init=False)
    roles: tuple[int, ...] = field(init=False)
    replica: Numbers = field(init=False)
    stage_load: Times = field(init=False)
    _runs: dict[Changes, GroupRuns] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.group.world_size
        self.devices, self.roles = self.group.devices, (0,) * size
        self.communicators = (Communicator("world", tuple(range(size)), "WORLD"),)
        self.replica, self.stage_load = np.arange(size), np.ones(size)

    @property
    def pairs(self) -> tuple[Numbers, Numbers]:
        healthy = self._execution.run()
        return healthy.source, healthy.target

    @property
    def _execution(self) -> CollectiveExecution:
        return self.executions.of(Call(self.collective, self.group, ELEMENTS, "fp32"), self.algorithm)

    def pairs_over(self, link: str) -> frozenset[tuple[int, int]]:
        return self._execution.pairs_over(link)

    def step(self, ready_at: Times, compute_s: Times, factor: Times, changes: Changes) -> list[SlotOutcome]:
        size = len(ready_at)
        if changes not in self._runs:
            self._runs[changes] = GroupRuns(np.arange(size)[None, :], [self._execution.run(changes)])
        return [
            collective_outcome(
                self.collective, np.zeros(size, np.int64), self._runs[changes], ready_at + compute_s, compute_s, factor,
                direct=self.algorithm == "direct",
            )
        ]  # fmt: skip


class GroupRuns:
    """Executions of the groups of one kind under the same changes, as columns over all their pairs.

    Args:
        members: ranks of each group (g, k).
        runs: the execution of each group.
    """

    def __init__(self, members: Numbers, runs: Sequence[ExecutedCollective]) -> None:
        self.members = members
        counts = np.array([len(run.source) for run in runs], np.int64)
        self.first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self.group = np.repeat(np.arange(len(runs)), counts)
        self.source = np.concatenate([ranks[run.source] for ranks, run in zip(members, runs, strict=True)])
        self.target = np.concatenate([ranks[run.target] for ranks, run in zip(members, runs, strict=True)])
        self.moved_bytes, self.begun_bytes, self.due_bytes, self.waited_s, self.transferred_s = (
            np.concatenate([getattr(run, name) for run in runs])
            for name in ("moved_bytes", "begun_bytes", "due_bytes", "waited_s", "transferred_s")
        )
        self.done_s = np.stack([run.done_s for run in runs])
        self.time_s = self.done_s.max(axis=1)
        self.longest_s = self._largest(self.transferred_s)

    def stretch(self, factor: Times) -> Times:
        """How much longer each group takes when the messages of each pair take `factor` times as long (g)."""
        times = self._largest(self.transferred_s * factor)
        return np.where(self.longest_s > 0.0, times / np.where(self.longest_s > 0.0, self.longest_s, 1.0), 1.0)

    def _largest(self, values: Times) -> Times:
        if not len(values):
            return np.zeros(len(self.members))
        return np.asarray(np.maximum.reduceat(values, self.first), np.float64)


def collective_outcome(
    what: str, communicator: Numbers, runs: GroupRuns, entered_at: Times, own_s: Times, factor: Times, *,
    direct: bool = False,
) -> SlotOutcome:  # fmt: skip
    """What an operation comes to whose ranks enter at different times: replayed from its executions.

    It ends when the last rank has come and the messages have taken their time. What a late rank makes others wait for
    is passed on along the messages, unless all ranks exchange messages with all (`direct`).

    Args:
        what: of the operation.
        communicator: of each rank (n).
        runs: of its groups.
        entered_at: instant of each rank [s] (n).
        own_s: of each rank before [s] (n).
        factor: times longer that the messages of each pair take (m).
        direct: whether a message leaves as soon as its two ranks are there.
    """
    arrived = entered_at[runs.members]
    last = arrived.max(axis=1)
    stretch = runs.stretch(factor)
    done_at = np.full(len(entered_at), np.inf)
    done_at[runs.members] = last[:, None] + runs.done_s * stretch[:, None]
    times = runs.transferred_s * factor
    of_source, of_target = entered_at[runs.source], entered_at[runs.target]
    is_there = np.isfinite(of_source) & np.isfinite(of_target)
    came = np.isfinite(last)[runs.group]
    with np.errstate(invalid="ignore"):
        if direct:
            waited = runs.waited_s + np.where(is_there, np.maximum(of_source - of_target, 0.0), 0.0)
        else:
            added = np.where(np.isfinite(runs.time_s), runs.time_s * (stretch - 1.0), 0.0)
            late = np.where(came, last[runs.group] - of_target, 0.0)
            waited = runs.waited_s + late + np.maximum(added[runs.group] - (times - runs.transferred_s), 0.0)
    there = is_there & (came | direct)
    return SlotOutcome(
        what, communicator, np.full(len(entered_at), -1), entered_at, done_at, own_s, runs.source, runs.target,
        np.where(there, runs.moved_bytes, 0.0), np.where(there, runs.begun_bytes, 0.0), runs.due_bytes, waited, times,
    )  # fmt: skip
