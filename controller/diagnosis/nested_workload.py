"""Tensor, pipeline and data parallelism at once: three kinds of communicators in one step.

Every micro-batch goes through the stages: compute, an all-reduce over the tensor group, a message to the next stage;
first all forward, then all backward. At the end every data group sums its gradients. Ranks count tensor first, then
data, then pipeline, as Megatron-LM lays them.

Simplification: groups of one kind do not slow each other down, and messages between stages overlap with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from controller.collectives.call import Call
from controller.collectives.group import Group, group_of
from controller.diagnosis.executed import Changes, CollectiveExecution, Executions
from controller.diagnosis.telemetry import Communicator
from controller.diagnosis.workloads import ELEMENTS, GroupRuns, Numbers, SlotOutcome, Times, collective_outcome

MICROBATCHES = 4
FORWARD_SHARE = 1.0 / 3.0
LAST_STAGE_LOAD = 1.15
"""Compute of the last stage, with its vocabulary, over that of the others; assumed."""
ACTIVATIONS = ELEMENTS // 4
NESTED = re.compile(r"tp(\d+)\.pp(\d+)\.dp(\d+)$")


@dataclass(slots=True)
class NestedWorkload:
    """Ranks as (pipeline, data, tensor).

    Attributes:
        executions: that run the collectives.
        group: all ranks.
        shape: how many stages, data ranks and tensor ranks.
    """

    executions: Executions
    group: Group
    shape: tuple[int, int, int]
    devices: tuple[str, ...] = field(init=False)
    communicators: tuple[Communicator, ...] = field(init=False)
    roles: tuple[int, ...] = field(init=False)
    replica: Numbers = field(init=False)
    stage_load: Times = field(init=False)
    _tensor: list[CollectiveExecution] = field(init=False)
    _data: list[CollectiveExecution] = field(init=False)
    _forward: list[CollectiveExecution] = field(init=False)
    _backward: list[CollectiveExecution] = field(init=False)
    _runs: dict[Changes, list[GroupRuns | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stages, replicas, shards = self.shape
        ranks = np.arange(self.group.world_size).reshape(self.shape)
        self.devices = self.group.devices
        places = np.indices(self.shape).reshape(3, -1)
        self.roles = tuple(places[0].tolist())
        self.replica = places[1]
        self.stage_load = np.where((places[0] == stages - 1) & (stages > 1), LAST_STAGE_LOAD, 1.0)
        tensor = ranks.reshape(-1, shards)
        data = ranks.transpose(0, 2, 1).reshape(-1, replicas)
        pipes = ranks.reshape(stages, -1).T
        named = (("tp", "TENSOR_MODEL_PARALLEL_GROUP", tensor), ("pp", "PIPELINE_MODEL_PARALLEL_GROUP", pipes),
                 ("dp", "DATA_PARALLEL_GROUP", data))  # fmt: skip
        self.communicators = tuple(
            Communicator(f"{name}{number}", tuple(members), purpose)
            for name, purpose, groups in named
            for number, members in enumerate(groups.tolist())
        )
        self._tensor = [
            self._execution("all_reduce", "ring", row, ACTIVATIONS) for row in tensor.tolist() if shards > 1
        ]
        self._data = [self._execution("all_reduce", "ring", row, ELEMENTS) for row in data.tolist() if replicas > 1]
        ahead = [(a, b) for pipe in pipes.tolist() for a, b in pairwise(pipe)]
        self._forward = [self._execution("broadcast", "chain", [a, b], ACTIVATIONS) for a, b in ahead]
        self._backward = [self._execution("broadcast", "chain", [b, a], ACTIVATIONS) for a, b in ahead]

    @property
    def pairs(self) -> tuple[Numbers, Numbers]:
        source: list[int] = []
        target: list[int] = []
        for each in self._every():
            own, run = self._ranks(each), each.run()
            source += own[run.source].tolist()
            target += own[run.target].tolist()
        return np.array(source, np.int64), np.array(target, np.int64)

    def pairs_over(self, link: str) -> frozenset[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for each in self._every():
            own = self._ranks(each)
            found |= {(int(own[a]), int(own[b])) for a, b in each.pairs_over(link)}
        return frozenset(found)

    def step(self, ready_at: Times, compute_s: Times, factor: Times, changes: Changes) -> list[SlotOutcome]:
        stages, replicas, shards = self.shape
        size = self.group.world_size
        tensor, forward, backward, data = self._under(changes)
        factors = np.split(
            factor, np.cumsum([0 if each is None else len(each.source) for each in (tensor, forward, backward)])
        )
        state = Passes(self.shape, ready_at, compute_s)
        state.run(tensor, (forward, backward), factors)
        found: list[SlotOutcome] = []
        if tensor is not None:
            number = np.repeat(np.arange(stages * replicas), shards)
            found.append(state.tensor_outcome(number, tensor, factors[0]))
        if forward is not None and backward is not None:
            number = stages * replicas + np.tile(np.arange(replicas * shards), stages)
            found.append(state.pipe_outcome(number, (forward, backward), factors[1:3]))
        if data is not None:
            number = np.empty(size, np.int64)
            number[data.members] = (stages * replicas + replicas * shards + np.arange(len(data.members)))[:, None]
            entered_at = state.ready_at.ravel()
            found.append(collective_outcome("all_reduce", number, data, entered_at, np.zeros(size), factors[3]))
        found[0].own_s = state.own_s
        for at, slot in enumerate(found):
            # Records are summed up over micro-batches: who stands in one operation, or before it, has
            # not come to the next ones.
            stuck = ~np.isfinite(slot.done_at)
            for later in found[at + 1 :] if stuck.any() else ():
                later.entered_at = np.where(stuck, np.inf, later.entered_at)
        return found

    def _under(self, changes: Changes) -> list[GroupRuns | None]:
        """The executions of tensor groups, messages forward and backward, and data groups; None for none."""
        if changes not in self._runs:
            kinds = (self._tensor, self._forward, self._backward, self._data)
            self._runs[changes] = [
                GroupRuns(np.stack([self._ranks(each) for each in kind]), [each.run(changes) for each in kind])
                if kind else None
                for kind in kinds
            ]  # fmt: skip
        return self._runs[changes]

    def _every(self) -> list[CollectiveExecution]:
        return [*self._tensor, *self._forward, *self._backward, *self._data]

    def _execution(self, collective: str, name: str, ranks: list[int], count: int) -> CollectiveExecution:
        own = group_of(self.executions.topology, [self.group.devices[rank] for rank in ranks])
        return self.executions.of(Call(collective, own, count, "fp32"), name)

    def _ranks(self, execution: CollectiveExecution) -> Numbers:
        rank_of = {device: rank for rank, device in enumerate(self.group.devices)}
        return np.array([rank_of[device] for device in execution.call.group.devices], np.int64)


class Passes:
    """The micro-batches of one step on arrays of (pipeline, data, tensor)."""

    def __init__(self, shape: tuple[int, int, int], ready_at: Times, compute_s: Times) -> None:
        self.shape = shape
        self.ready_at = ready_at.reshape(shape).copy()
        self._compute_s = compute_s.reshape(shape) / MICROBATCHES
        self._own_s, self._late_s = np.zeros(shape), np.zeros(shape)
        self._entered = np.full(shape, np.inf)
        self._done = np.zeros(shape)
        self._pipe_entered, self._pipe_done = self.ready_at.copy(), self.ready_at.copy()
        self._peer = np.full(shape, -1)
        self._rank = np.arange(self.ready_at.size).reshape(shape)
        self._pipe_sent = [np.zeros((shape[0] - 1, *shape[1:]), bool) for _ in range(2)]
        self._pipe_waited = [np.zeros((shape[0] - 1, *shape[1:])) for _ in range(2)]

    def run(
        self, tensor: GroupRuns | None, pipes: tuple[GroupRuns | None, GroupRuns | None], factors: Sequence[Times]
    ) -> None:
        """Passes all micro-batches forward and backward."""
        stages, replicas, shards = self.shape
        tensor_s = np.zeros(self.shape[:2])
        if tensor is not None:
            tensor_s = (tensor.time_s * tensor.stretch(factors[0])).reshape(stages, replicas)
        hops = [
            np.zeros((0, replicas, shards)) if runs is None
            else (runs.time_s * factor).reshape(replicas, shards, stages - 1).transpose(2, 0, 1)
            for runs, factor in zip(pipes, factors[1:3], strict=True)
        ]  # fmt: skip
        for backward, share in ((False, FORWARD_SHARE), (True, 1.0 - FORWARD_SHARE)):
            order = range(stages - 1, -1, -1) if backward else range(stages)
            sent = np.zeros(self.shape)
            for _ in range(MICROBATCHES):
                for stage in order:
                    before = stage + 1 if backward else stage - 1
                    if 0 <= before < stages:
                        self._pipe_sent[backward][min(stage, before)] |= np.isfinite(sent[before])
                        came = sent[before] + hops[backward][min(stage, before)]
                        self._receive(stage, came, int(backward), min(stage, before))
                    self._compute(stage, self._compute_s[stage] * share, tensor_s[stage])
                    sent[stage] = self.ready_at[stage]

    def _receive(self, stage: int, came: Times, way: int, hop: int) -> None:
        ready, waits = self.ready_at[stage], np.isfinite(self.ready_at[stage])
        open_ = waits & ~np.isfinite(came)
        self._peer[stage] = np.where(open_, self._rank[hop if stage > hop else hop + 1], self._peer[stage])
        # A message that never comes is entered and not ended; later ones do not overwrite it.
        self._pipe_entered[stage] = np.where(waits, ready, self._pipe_entered[stage])
        self._pipe_done[stage] = np.where(waits, np.maximum(ready, came), self._pipe_done[stage])
        with np.errstate(invalid="ignore"):
            self._pipe_waited[way][hop] += np.where(waits & ~open_, np.maximum(came - ready, 0.0), 0.0)
        self.ready_at[stage] = np.maximum(ready, came)

    def _compute(self, stage: int, seconds: Times, tensor_s: Times) -> None:
        entered = self.ready_at[stage] + seconds
        there = np.isfinite(self.ready_at[stage])
        came = np.isfinite(entered)
        self._own_s[stage] += np.where(came, seconds, 0.0)
        last = entered.max(axis=-1, keepdims=True)
        done = np.broadcast_to(last + tensor_s[:, None], entered.shape)
        self._entered[stage] = np.where(there, entered, self._entered[stage])
        self._done[stage] = np.where(there, done, self._done[stage])
        with np.errstate(invalid="ignore"):
            self._late_s[stage] += np.where(came & np.isfinite(last), last - entered, 0.0)
        self.ready_at[stage] = done

    @property
    def own_s(self) -> Times:
        """What each rank computed [s] (n)."""
        return self._own_s.ravel()

    def tensor_outcome(self, number: Numbers, runs: GroupRuns, factor: Times) -> SlotOutcome:
        """The all-reduces over tensor groups, summed up over the micro-batches."""
        made = collective_outcome("all_reduce", number, runs, self._entered.ravel(), self._own_s.ravel(), factor)
        made.done_at = self._done.ravel()
        made.waited_s = np.where(np.isfinite(made.waited_s), made.waited_s, 0.0) + self._late_s.ravel()[made.target]
        return made

    def pipe_outcome(self, number: Numbers, runs: tuple[GroupRuns, GroupRuns], factors: Sequence[Times]) -> SlotOutcome:
        """The messages between stages, summed up over the micro-batches."""
        waited = [each.transpose(1, 2, 0).ravel() for each in self._pipe_waited]
        sent = np.concatenate([each.transpose(1, 2, 0).ravel() for each in self._pipe_sent])
        source, target, moved, begun, due, took = (
            np.concatenate([getattr(each, name) for each in runs])
            for name in ("source", "target", "moved_bytes", "begun_bytes", "due_bytes", "transferred_s")
        )
        return SlotOutcome(
            "send_recv", number, self._peer.ravel(), self._pipe_entered.ravel(), self._pipe_done.ravel(),
            np.zeros(self.ready_at.size), source, target, np.where(sent, moved, 0.0), np.where(sent, begun, 0.0), due,
            np.concatenate(waited), took * np.concatenate(factors),
        )  # fmt: skip
