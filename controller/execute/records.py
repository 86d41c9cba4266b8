"""What is noted of every plan of a run: for the ledger, for the critical path, for the timeline and for the log."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from controller.engine import Engine
from controller.engine.errors import EngineError
from controller.execute.critical import PathRecord
from controller.execute.ledger import Ledger
from controller.execute.spans import record_spans
from controller.execute.submission import Submission
from controller.execute.trace import Trace
from controller.fabric.loads import Fabric
from controller.plan.ops import Plan
from controller.program.waits import Completion

Times = npt.NDArray[np.float64]


class Records:
    """The ledger of a run and, where they are asked for, its path, its trace and its log."""

    def __init__(self, fabric: Fabric, trace: Trace | None, path: PathRecord | None) -> None:
        self.ledger, self._trace, self._path = Ledger(fabric), trace, path
        self._log = None if trace is None else trace.log

    def add_plan(self, done: Submission, start: Times, end: Times) -> None:
        """Notes a plan that has ended.

        Args:
            done: the plan.
            start, end: of each of its activities [s]; NaN for those that were cancelled before they started.
        """
        assert done.template is not None and done.bound is not None, "a delay is no plan"
        never = np.isnan(start)
        if never.any():  # they took no time, and hold nothing up
            start, end = np.where(never, done.submitted_at, start), np.where(never, done.submitted_at, end)
        self.ledger.add(done.template, done.bound, start, end, ~never)
        if self._path is not None:
            self._path.add(done.template, done.bound, done.submitted_at, start, end)
        if self._trace is not None:
            record_spans(self._trace, done.template, done.bound, start, end, ~never)
        if self._log is not None and not done.is_cancelled:
            self._log.add(done.template, done.bound, done.submitted_at, start, end)

    def add_refused(self, plan: Plan, now: float) -> None:
        """Notes a plan that was refused at `now` [s], since what it needs is gone."""
        if self._log is not None:
            self._log.refused(plan, now)

    def add_unfinished(self, left: Iterable[Submission], engine: Engine) -> None:
        """Lets what can go on do so, and notes how far every plan has come."""
        if self._log is None:
            return
        with suppress(EngineError):
            engine.run()
        for entry in left:
            if entry.template is not None and entry.bound is not None:
                start, end = engine.start_at(entry.ticket.number), engine.end_at(entry.ticket.number)
                self._log.add(entry.template, entry.bound, entry.submitted_at, start, end)

    def add_delay(self, done: Submission, end_at: float) -> None:
        """Notes a delay that has ended at `end_at` [s]; not one that stands for plans, and not a cancelled one."""
        if self._path is not None and not done.is_repetition and not done.is_cancelled:
            self._path.add_delay(done.submitted_at, end_at)

    def repeat(self, done: Completion, times: int, now: float) -> None:
        """Notes that from `now` on [s] a plan that has just ended runs again, some times."""
        self.ledger.again(times)
        if self._path is not None:
            self._path.again(now, times)
        if self._trace is not None and self._trace.strips is not None:
            self._trace.strips.again(now, now + times * (done.end_at - done.submitted_at), times)
        if self._log is not None:
            self._log.again(times, done.end_at - done.submitted_at)
