"""What every op of a virtual run took, plan by plan: what telemetry of the run is made from.

A run that ends badly leaves what its plans had come to when nothing more could go on: ops without an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from controller.execute.losses import devices_of
from controller.execute.template import Bound, Template
from controller.plan.ops import Kernel, Plan, Transfer

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LoggedPlan:
    """One execution of a plan, without ops of the host.

    Attributes:
        name: of the plan, without its numbers: plans of one name do the same.
        devices: that take part.
        source, target: device of each op of two devices, as its index in `devices`; -1 for kernels and copies (n).
        kernel: device of each kernel; -1 for transfers (n).
        label: of each op.
        work: bytes of a transfer, or work of a kernel (n).
        start_s, end_s: from the submission; NaN for what did not start or end [s] (n).
    """

    name: str
    devices: tuple[str, ...]
    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    kernel: npt.NDArray[np.int64]
    label: tuple[str, ...]
    work: FloatArray
    start_s: FloatArray
    end_s: FloatArray


@dataclass(slots=True)
class OpLog:
    """Executions of plans in the order in which they ended.

    Attributes:
        plans: each execution with the instant of its submission [s].
    """

    plans: list[tuple[float, LoggedPlan]] = field(default_factory=list)

    def add(
        self, template: Template, bound: Bound, submitted_at: float, start_at: FloatArray, end_at: FloatArray
    ) -> None:
        """Keeps one execution."""
        ops = template.plan.ops
        chosen = [
            (row, ops[index])
            for row, index in enumerate(template.op_of.tolist())
            if index >= 0 and isinstance(ops[index], Kernel | Transfer)
        ]
        devices = tuple(dict.fromkeys(device for _, op in chosen for device in devices_of(op)))
        place = {device: index for index, device in enumerate(devices)}
        count = len(chosen)
        source, target, kernel = (np.full(count, -1, np.int64) for _ in range(3))
        for at, (_, op) in enumerate(chosen):
            if isinstance(op, Kernel):
                kernel[at] = place[op.device]
            elif isinstance(op, Transfer):
                ends = op.sources[0].buffer.device, op.destinations[0].buffer.device
                if ends[0] != ends[1]:
                    source[at], target[at] = place[ends[0]], place[ends[1]]
        rows = np.array([row for row, _ in chosen], np.int64)
        names = template.row_names()
        self.plans.append(
            (
                submitted_at,
                LoggedPlan(
                    _kind(template.plan), devices, source, target, kernel, tuple(names[row] for row in rows.tolist()),
                    bound.work[rows], start_at[rows] - submitted_at, end_at[rows] - submitted_at,
                ),
            )
        )  # fmt: skip

    def again(self, times: int, every_s: float) -> None:
        """The last execution is repeated."""
        at_s, plan = self.plans[-1]
        self.plans += [(at_s + (turn + 1) * every_s, plan) for turn in range(times)]

    def refused(self, plan: Plan, now: float) -> None:
        """A plan that no device began, since one of them is gone."""
        devices = tuple(dict.fromkeys(device for op in plan.ops for device in devices_of(op)))
        none, empty = np.zeros(0, np.int64), np.zeros(0)
        self.plans.append((now, LoggedPlan(_kind(plan), devices, none, none, none, (), empty, empty, empty)))

    def repeated(self, times: int) -> OpLog:
        """The same executions over and over, without a gap."""
        length_s = self.end_s
        return OpLog([(at_s + turn * length_s, plan) for turn in range(times) for at_s, plan in self.plans])

    def after(self, other: OpLog) -> OpLog:
        """What `other` holds, and then what this holds."""
        begin_s = other.end_s
        return OpLog([*other.plans, *((begin_s + at_s, plan) for at_s, plan in self.plans)])

    @property
    def is_open(self) -> bool:
        """Whether anything has not ended."""
        return any(not len(plan.end_s) or bool(np.isnan(plan.end_s).any()) for _, plan in self.plans)

    @property
    def end_s(self) -> float:
        """When the last op that ended did [s]."""
        ends = [at_s + float(np.nanmax(plan.end_s)) for at_s, plan in self.plans if np.isfinite(plan.end_s).any()]
        return max(ends, default=0.0)


def _kind(plan: Plan) -> str:
    return " ".join(word for word in plan.name.split() if not word.isdigit()) or plan.name
