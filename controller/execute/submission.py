"""A plan, or a delay, that runs on the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.engine import Activities, Engine
from controller.execute.losses import devices_of
from controller.execute.occupancy import Lifetimes
from controller.execute.part_changes import Moved
from controller.execute.template import Bound, Template
from controller.plan.extents import describe
from controller.plan.ops import Buffer, Plan
from controller.program.waits import Ticket


@dataclass(slots=True)
class Submission:
    """What runs under a ticket.

    Attributes:
        ticket: its number is that of the engine.
        template, bound: the plan as it was compiled; None for a delay.
        submitted_at: device time [s].
        lifetimes: of the buffers that the plan allocates; None for a delay.
        moved: what changes of parts need of it; None where none is declared.
        is_cancelled: an op of it was cancelled before it ended.
        is_repetition: the delay stands for another run of a plan.
    """

    ticket: Ticket
    template: Template | None
    bound: Bound | None
    submitted_at: float
    lifetimes: Lifetimes | None
    moved: Moved | None = None
    is_cancelled: bool = False
    is_repetition: bool = False

    @property
    def plan(self) -> Plan:
        """The plan as it is executed."""
        assert self.template is not None, "a delay has no plan"
        return self.template.plan

    @property
    def made(self) -> tuple[Buffer, ...]:
        """What the plan allocates and keeps."""
        return () if self.lifetimes is None else self.lifetimes.made

    def cancel(self, engine: Engine) -> None:
        """Cancels what has not ended."""
        # Backwards, so that nothing starts because what it waits for has gone.
        rows = range(len(engine.end_at(self.ticket.number)) - 1, -1, -1)
        loads = None if self.bound is None or self.template is None else self.template.activities.load_start
        left = np.zeros(len(rows))
        for row in rows:
            if self.bound is not None and loads is not None:
                weights = self.bound.load_weight[loads[row] : loads[row + 1]]
                left[row] = engine.reweigh(self.ticket.number, row, weights)
            self.is_cancelled |= engine.cancel(self.ticket.number, row)
        if self.is_cancelled and self.bound is not None:
            self.bound = replace(self.bound, work=self.bound.work - left)
        if self.is_cancelled and self.lifetimes is not None:
            self.lifetimes = self.lifetimes.cancelled()

    def needs(self, engine: Engine, device: str) -> bool:
        """Whether an op that has not ended needs `device`."""
        if self.template is None:
            return False
        left = np.flatnonzero(np.isnan(engine.end_at(self.ticket.number)))
        indices = {int(self.template.op_of[row]) for row in left} - {-1}
        return any(device in devices_of(self.template.plan.ops[index]) for index in indices)

    def activity_name(self, row: int) -> str:
        """What a report of a deadlock calls one of its activities."""
        if self.template is None:
            return "a delay"
        index, plan = int(self.template.op_of[row]), self.template.plan
        what = "launch" if index < 0 else describe(plan.ops[index])
        return f"{what} (plan {plan.name!r})"


def delay_of(duration_s: float) -> Activities:
    """One activity that takes a time and no resource.

    Args:
        duration_s: its length [s].
    """
    return Activities(
        work=np.zeros(1),
        latency_s=np.array([duration_s]),
        rate_limit=np.array([np.inf]),
        queue=np.array([-1], np.int32),
        load_start=np.zeros(2, np.int64),
        load_resource=np.empty(0, np.int32),
        load_weight=np.empty(0),
        dep_start=np.zeros(2, np.int64),
        dep=np.empty(0, np.int32),
    )
