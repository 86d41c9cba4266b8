"""How much faster would a traced step have been without its stragglers?

Paper: Understanding Stragglers in Large Model Training Using What-if Analysis (ByteDance).
Follows: the steps are replayed from the durations of their operations; T is the replay as traced, T_ideal the one in
    which every operation takes what its peers take, the mean of compute and the median of transfers; S = T / T_ideal.
    A transfer is what is left after the last of its group has come: ``end - max(start over the group)``. M_W is the
    gain from repairing the slowest 3 % of workers over the whole gain, M_S the same for the last stage.
Differs: the optimizer's clipping counts as a transfer, since all ranks wait in it for the norm.
Checked by: tests/unit/controller/diagnosis/test_what_if.py, on pipelines that are worked out by hand
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from controller.diagnosis.errors import BadDump

Times = NDArray[np.float64]
COMPUTE = ("forward-compute", "backward-compute", "optimizer", "gc")
IN_STEP_ORDER = (
    "params-all-gather",
    "grads-reduce-scatter",
    "embedding-grads-all-reduce",
    "layernorm-grads-all-reduce",
)
"""Collectives between compute and the optimizer, on a stream of their own."""
WORST_SHARE = 0.03


@dataclass(frozen=True, slots=True, order=True)
class TracedOperation:
    """One operation of every step of one worker.

    Attributes:
        dp_rank, stage: the worker.
        kind: ``forward-compute``, ``backward-send``, ...
        seq: number among those of its kind.
    """

    dp_rank: int
    stage: int
    kind: str
    seq: int

    def __str__(self) -> str:
        return f"{self.kind} number {self.seq} of data rank {self.dp_rank} in stage {self.stage}"


@dataclass(frozen=True, slots=True)
class StepTrace:
    """Steps that all consist of the same operations.

    Attributes:
        steps: their numbers.
        start_at, end_at: of each operation in each step, from the start of the step [s] (steps).
    """

    steps: tuple[int, ...]
    start_at: Mapping[TracedOperation, Times]
    end_at: Mapping[TracedOperation, Times]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What the stragglers of a trace cost, on average over its steps.

    Attributes:
        time_s: of a step as traced, without the gaps between operations [s].
        ideal_s: of a step in which every operation takes what its peers take [s].
        worst_workers: the slowest 3 % of workers, as (data rank, stage).
        workers_ratio: share of the gain that repairing those brings (M_W).
        last_stage_ratio: share of the gain that repairing the last stage brings (M_S).
    """

    time_s: float
    ideal_s: float
    worst_workers: tuple[tuple[int, int], ...]
    workers_ratio: float
    last_stage_ratio: float

    @property
    def slowdown_ratio(self) -> float:
        """S, what the stragglers make of the ideal step."""
        return self.time_s / self.ideal_s


def what_if(trace: StepTrace) -> WhatIf:
    """Analyses a trace.

    Raises:
        BadDump: operations that wait for each other.
    """
    replay = _Replay(trace)
    asis, ideal = replay.durations(), replay.ideal()
    time_s, ideal_s = replay.time_s(asis), replay.time_s(ideal)
    gain_s = time_s - ideal_s
    workers = sorted({(op.dp_rank, op.stage) for op in asis})

    def repaired(some: Collection[tuple[int, int]]) -> float:
        durations = {op: ideal[op] if (op.dp_rank, op.stage) in some else asis[op] for op in asis}
        return time_s - replay.time_s(durations)

    gains = {worker: repaired((worker,)) for worker in workers}
    worst = sorted(workers, key=lambda worker: (-gains[worker], worker))[: ceil(WORST_SHARE * len(workers))]
    last = max(stage for _, stage in workers)
    last_gain_s = repaired([worker for worker in workers if worker[1] == last])
    share = (lambda seconds: seconds / gain_s) if gain_s > 0 else (lambda seconds: 0.0)
    return WhatIf(time_s, ideal_s, tuple(worst), share(repaired(worst)), share(last_gain_s))


class _Replay:
    """The graph of a step: operations in groups that end together, and what each waits for.

    Args:
        trace: the steps.
    """

    def __init__(self, trace: StepTrace) -> None:
        self._trace = trace
        self._ops = sorted(trace.start_at)
        self._groups: dict[tuple[object, ...], list[TracedOperation]] = defaultdict(list)
        for op in self._ops:
            self._groups[_group(op)].append(op)
        before = self._before()
        needed = {
            group: {_group(earlier) for op in ops for earlier in before[op]} - {group}
            for group, ops in self._groups.items()
        }
        self._order: list[tuple[tuple[object, ...], tuple[tuple[object, ...], ...]]] = []
        done: set[tuple[object, ...]] = set()
        while len(done) < len(needed):
            ready = [group for group in self._groups if group not in done and needed[group] <= done]
            if not ready:
                raise BadDump("the trace's operations wait for each other; its seq_ids do not follow its pipeline")
            self._order += [(group, tuple(sorted(needed[group], key=repr))) for group in ready]
            done.update(ready)

    def time_s(self, durations: Mapping[TracedOperation, Times]) -> float:
        """Mean time of a step in which the operations take `durations` [s]."""
        end_at: dict[tuple[object, ...], Times] = {}
        own_end: Times = np.zeros(len(self._trace.steps))
        for group, needed in self._order:
            start = np.zeros(len(self._trace.steps))
            for earlier in needed:
                start = np.maximum(start, end_at[earlier])
            end_at[group] = start + np.max([durations[op] for op in self._groups[group]], axis=0)
            own_end = np.maximum(own_end, end_at[group])
        return float(own_end.mean())

    def durations(self) -> dict[TracedOperation, Times]:
        """How long each operation took once the last of its group had come [s]."""
        found: dict[TracedOperation, Times] = {}
        for ops in self._groups.values():
            last = np.max([self._trace.start_at[op] for op in ops], axis=0)
            for op in ops:
                found[op] = np.maximum(self._trace.end_at[op] - last, 0.0)
        return found

    def ideal(self) -> dict[TracedOperation, Times]:
        """What the peers of each operation take, those of its kind on all workers and in all steps [s]."""
        durations = self.durations()
        of_kind: dict[str, list[TracedOperation]] = defaultdict(list)
        for op in self._ops:
            of_kind[op.kind].append(op)
        found: dict[TracedOperation, Times] = {}
        for kind, ops in of_kind.items():
            all_of_them = np.stack([durations[op] for op in ops])
            value = all_of_them.mean() if kind in COMPUTE else np.median(all_of_them)
            found |= dict.fromkeys(ops, np.full(len(self._trace.steps), value))
        return found

    def _before(self) -> dict[TracedOperation, list[TracedOperation]]:
        """What each operation waits for on its own worker."""
        before: dict[TracedOperation, list[TracedOperation]] = defaultdict(list)
        workers: dict[tuple[int, int], list[TracedOperation]] = defaultdict(list)
        for op in self._ops:
            workers[op.dp_rank, op.stage].append(op)
        for (dp_rank, stage), ops in workers.items():
            streams: dict[str, list[TracedOperation]] = defaultdict(list)
            for op in ops:
                streams[_stream(op.kind)].append(op)
            for stream in streams.values():
                stream.sort(key=self._usual_time)
                for earlier, later in pairwise(stream):
                    before[later].append(earlier)
            layers = [op for op in streams["compute"] if op.kind in ("forward-compute", "backward-compute")]
            known = set(ops)
            for op in ops:
                same = {
                    way: TracedOperation(dp_rank, stage, f"{way}-compute", op.seq) for way in ("forward", "backward")
                }
                way, _, part = op.kind.partition("-")
                if part == "send" and same[way] in known:
                    before[op].append(same[way])
                elif part == "recv" and same[way] in known:
                    before[same[way]].append(op)
                elif op.kind == "params-all-gather" and layers:
                    before[layers[0]].append(op)
                elif op.kind in IN_STEP_ORDER and layers:
                    before[op].append(layers[-1])
                    for later in streams["compute"]:
                        if later.kind.startswith("optimizer"):
                            before[later].append(op)
        return before

    def _usual_time(self, op: TracedOperation) -> tuple[float, float, TracedOperation]:
        return float(np.median(self._trace.start_at[op])), float(np.median(self._trace.end_at[op])), op


def _stream(kind: str) -> str:
    if kind.endswith(("-send", "-recv")):
        return kind
    return "collectives" if kind in IN_STEP_ORDER else "compute"


def _group(op: TracedOperation) -> tuple[object, ...]:
    """Operations of one group wait for each other and end together."""
    way, _, part = op.kind.partition("-")
    if part in ("send", "recv"):
        forward = way == "forward"
        sender = op.stage if part == "send" else op.stage - 1 if forward else op.stage + 1
        return way, op.dp_rank, sender, op.seq
    if op.kind in ("params-all-gather", "grads-reduce-scatter"):
        return op.kind, op.stage, op.seq
    if op.kind == "embedding-grads-all-reduce":
        return op.kind, op.dp_rank, op.seq
    if op.kind == "optimizer-clip-main-grad":
        return op.kind, op.seq
    return op.kind, op.dp_rank, op.stage, op.seq
