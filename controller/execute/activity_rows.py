"""The rows of a plan for the engine, as they are collected op by op."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from controller.engine.activities import Activities
from controller.execute.costs import Cost

IntArray = npt.NDArray[np.int32]


class ActivityRows:
    """Rows so far; an op has one, a transfer to several destinations as many as those.

    Attributes:
        labels: every label once.
        limits: of every row, as `Cost.limit`.
    """

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.limits: list[str] = []
        self._costs: list[Cost | None] = []
        self._queue: list[int] = []
        self._label_of: list[int] = []
        self._op_of: list[int] = []
        self._after: list[tuple[int, ...]] = []
        self._launch_s: list[float] = []
        self._label_index: dict[str, int] = {}

    def add(
        self, cost: Cost | None, queue: int, label: str, op: int, after: tuple[int, ...], launch_s: float = 0.0
    ) -> int:
        """The number of a new row.

        Args:
            cost: what it takes; None for a launch by the host, and for what takes nothing.
            queue: index of its queue; -1 for none.
            label: of the op.
            op: index of the op; -1 for a launch.
            after: rows that it follows.
            launch_s: length of a launch [s].
        """
        index = self._label_index.get(label)
        if index is None:
            index = self._label_index[label] = len(self.labels)
            self.labels.append(label)
        self._costs.append(cost)
        self._queue.append(queue)
        self._label_of.append(index)
        self._op_of.append(op)
        self._after.append(after)
        self._launch_s.append(launch_s)
        self.limits.append("" if cost is None else cost.limit)
        return len(self._costs) - 1

    def arrays(self) -> tuple[Activities, IntArray, IntArray]:
        """The activities, and of every row the index of its op and that of its label."""
        none, costs = np.empty(0), self._costs
        loads = [none if cost is None else cost.load.resources for cost in costs]
        weights = [none if cost is None else cost.load.weights for cost in costs]
        load_start = np.zeros(len(costs) + 1, np.int64)
        np.cumsum([len(load) for load in loads], out=load_start[1:])
        dep_start = np.zeros(len(costs) + 1, np.int64)
        np.cumsum([len(after) for after in self._after], out=dep_start[1:])
        latencies = [
            launch_s if cost is None else cost.latency_s for cost, launch_s in zip(costs, self._launch_s, strict=True)
        ]
        activities = Activities(
            work=np.array([0.0 if cost is None else cost.work for cost in costs]),
            latency_s=np.array(latencies),
            rate_limit=np.array([np.inf if cost is None else cost.rate_limit for cost in costs]),
            queue=np.array(self._queue, np.int32),
            load_start=load_start,
            load_resource=np.concatenate([*loads, none]).astype(np.int32),
            load_weight=np.concatenate([*weights, none]).astype(np.float64),
            dep_start=dep_start,
            dep=np.array([row for after in self._after for row in after], np.int32),
        )
        return activities, np.array(self._op_of, np.int32), np.array(self._label_of, np.int32)
