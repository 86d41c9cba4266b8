"""The training loop: tokens in, the plans of a step one after the other, losses and parameters out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from controller.models.training.layout import Part
from controller.models.training_scenario import TrainingScenario
from controller.offload.training_devices import training_gpus
from controller.offload.training_gpu import TrainingGpu
from controller.plan.build import Operand, as_view
from controller.plan.ops import Buffer, Plan
from controller.program.results import TrainingResult
from controller.program.run import Run, TrainingProgram, Wish
from controller.program.waits import Fetch

STEPS = "steps"
"""The phase of a step that is one plan."""
Masters = Sequence[tuple[Sequence[Operand], Sequence[Part]]]
"""Pieces that begin, one after the other, with the fp32 parameters of some parts in that order."""


class TrainingPolicy(Protocol):
    """Where a training system keeps what, and what its step does."""

    @property
    def gpus(self) -> Sequence[TrainingGpu]:
        """Those that train; each batch has a number, which GPUs share that compute parts of it."""

    def plans(self) -> Mapping[str, Plan]:
        """The plans of a step by phase, in order; an open size ``step`` is the number of the step, from 1."""

    def place(self, run: Run) -> None:
        """Allocates everything, with first values in a live run; `plans` was called before."""

    def masters(self) -> Masters:
        """Where the fp32 parameters lie."""


class AfterSteps(Protocol):
    """Who keeps the states of a training run; `controller.offload.recovery` has one."""

    def placed(self, run: Run, policy: Any) -> None:
        """Everything is placed, and the first step has not begun."""

    def after(self, run: Run, step: int, loss: float | None) -> Generator[Wish, Any, None]:
        """`step` (from 0) has ended with `loss`, None on the virtual clock."""


def train(
    run: Run, scenario: TrainingScenario, policy: TrainingPolicy, first: int = 0, keeper: AfterSteps | None = None
) -> TrainingProgram:
    """Trains as a policy says, from step `first` on; a keeper is told when all is placed and after every step.

    What a plan wrote to flash is committed when it has ended. Throughput is that of the phase `STEPS` where a step is
    one plan, else of the whole run: every step is a steady one, since all states return to where they were.
    """
    plans = policy.plans()
    declared = len(training_gpus(scenario))
    if len(policy.gpus) < declared and "gpus" not in scenario.options:
        run.note(f"{declared} GPUs are declared, and this system trains on {len(policy.gpus)} of them")
    policy.place(run)
    if keeper is not None:
        keeper.placed(run, policy)
    losses: list[float | None] = []
    for step in range(first, scenario.steps):
        for gpu in policy.gpus:
            _write_tokens(run, scenario, step, gpu)
        for phase, plan in plans.items():
            yield run.submit(plan, **({"step": step + 1} if "step" in plan.parameters else {}))
            run.mark(phase)
        losses.append((yield from _mean_loss(run, [gpu.loss.value for gpu in policy.gpus])))
        if keeper is not None:
            yield from keeper.after(run, step, losses[-1])
        run.progress(step + 1, scenario.steps, "training")
    gpus, rate_phase = len({gpu.number for gpu in policy.gpus}), STEPS if STEPS in plans else None
    trained_tokens = scenario.tokens * len(losses) * gpus
    if not run.live:
        return TrainingResult(trained_tokens, gpus, rate_phase)
    values = [loss for loss in losses if loss is not None]
    return TrainingResult(trained_tokens, gpus, rate_phase, values, (yield from _parameters(run, policy.masters())))


def _write_tokens(run: Run, scenario: TrainingScenario, step: int, gpu: TrainingGpu) -> None:
    """The batch of `step` (from 0) arrives, outside of time: inputs are all tokens but the last, targets all but the
    first."""
    if scenario.token_ids is None:
        run.write(gpu.ids, None)
        run.write(gpu.targets, None)
        return
    tokens = np.asarray(scenario.token_ids[step, gpu.number], np.int64)
    run.write(gpu.ids, np.ascontiguousarray(tokens[:, :-1]))
    run.write(gpu.targets, np.ascontiguousarray(tokens[:, 1:]))


def _mean_loss(run: Run, values: Sequence[Buffer]) -> Generator[Fetch, Any, float | None]:
    """The loss of a step, the mean of all GPUs; None on the virtual clock."""
    total = 0.0
    for value in values:
        found = yield run.fetch(value)
        if found is None:
            return None
        total += float(np.asarray(found).reshape(-1)[0])
    return total / len(values)


def _parameters(run: Run, masters: Masters) -> Generator[Fetch, Any, dict[str, Any]]:
    """Parameters by canonical name."""
    named: dict[str, Any] = {}
    for pieces, parts in masters:
        values: list[Any] = []
        for piece in pieces:
            values.append(np.asarray((yield run.fetch(as_view(piece)))).reshape(-1))
        flat, start = np.concatenate(values), 0
        for part in parts:
            named |= part.named(flat[start : start + part.layout.elements])
            start += part.layout.elements
    return named
