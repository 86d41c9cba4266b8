"""Runs a strategy in this process: every plan op by op with the kernels of a node, no time, no device, no socket.

Buffers start as NaN (or -1), so that what is read before it was written shows. With `backwards` the ops of a plan run
in the order that is as far from program order as the edges allow.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

from controller.execute.occupancy import Occupancy
from controller.plan.build import as_view
from controller.plan.check import check_plan
from controller.program.waits import Completion, Delay, Fetch, Ticket


def _interpreter():
    path = Path(__file__).parents[1] / "models" / "plan_interpreter.py"
    if "plan_interpreter" not in sys.modules:
        spec = spec_from_file_location("plan_interpreter", path)
        sys.modules["plan_interpreter"] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules["plan_interpreter"])
    return sys.modules["plan_interpreter"]


class LocalRun:
    """Implements `Run`; values are real, time stands still."""

    live = True
    now = 0.0

    def __init__(self, topology, *, backwards: bool = False) -> None:
        self.topology = topology
        self.machine = _interpreter().PlanInterpreter(backwards)
        self.occupancy = Occupancy(topology)
        self.reports: dict[str, object] = {}
        self.phases: list[str] = []
        self.plans: dict[int, tuple[object, list[dict[str, int]]]] = {}

    def place(self, buffer, content=None, *, written=False) -> None:
        self.occupancy.take(buffer, written=written or content is not None, now=0.0)
        self.machine.place(buffer, content() if callable(content) else content)

    def release(self, buffer) -> None:
        self.occupancy.give(buffer, now=0.0)
        del self.machine._memory[buffer]

    def submit(self, plan, **bindings: int) -> Ticket:
        self.occupancy.admit(plan)
        _, seen = self.plans.setdefault(id(plan), (plan, []))
        if len(seen) < 2:
            check_plan(plan, self.topology, bindings)
        seen.append(bindings)
        self.machine.run(plan, **{name: value for name, value in bindings.items() if name in plan.parameters})
        return Ticket(0, plan.name)

    def fetch(self, view) -> Fetch:
        return Fetch(as_view(view))

    def delay(self, duration_s: float) -> Delay:
        return Delay(duration_s)

    def mark(self, phase: str) -> None:
        self.phases.append(phase)

    def report(self, name: str, value: object) -> None:
        self.reports[name] = value

    def progress(self, done: int, total: int, what: str) -> None:
        assert done <= total

    def drive(self, program) -> None:
        """Runs a program to its end."""
        generator, value = program(self), None
        while True:
            try:
                wish = generator.send(value)
            except StopIteration:
                return
            if isinstance(wish, Fetch):
                value = self.machine.read(wish.view)
            else:
                value = Completion(wish, 0.0, 0.0) if isinstance(wish, Ticket) else None

    @property
    def tokens(self) -> np.ndarray:
        """Generated tokens (rows, steps)."""
        return np.asarray(self.reports["tokens"]).T

    @property
    def logits(self) -> np.ndarray:
        """Logits (steps, rows, vocab)."""
        return np.stack(self.reports["logits"])
