"""What every training program does alike: tokens in, losses and parameters out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from controller.errors import BadTopology
from controller.models.shape import weight_shapes
from controller.models.training import TrainingStage
from controller.models.training.layout import Part
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import Operand
from controller.plan.ops import Buffer, Plan
from controller.program.results import TrainingResult
from controller.program.run import Run, TrainingProgram, Wish
from controller.program.waits import Fetch

STEPS = "steps"
"""The phase of all training steps."""


def training_gpus(scenario: TrainingScenario) -> tuple[str, ...]:
    """Names of the GPUs of the topology that run kernels, in its order.

    Raises:
        BadTopology: there is none.
    """
    found = [device for device in scenario.topology.of_kind("gpu") if device.spec.compute_queue is not None]
    if not found:
        raise BadTopology(f"topology {scenario.topology.name!r} has no gpu that computes; choose another --topology")
    return tuple(device.name for device in found)


def token_buffers(scenario: TrainingScenario, gpu: str, tier: str = "hbm") -> tuple[Buffer, Buffer]:
    """Ids and targets of one GPU, int64 (batch, seq) each."""
    shape = (scenario.batch, scenario.seq)
    return Buffer(gpu, tier, "ids", "int64", shape), Buffer(gpu, tier, "targets", "int64", shape)


def write_tokens(run: Run, scenario: TrainingScenario, step: int, buffers: Sequence[tuple[Buffer, Buffer]]) -> None:
    """The batch of `step` (from 0) into the placed `token_buffers` of each GPU, outside of time: data arrives."""
    for gpu, (ids, targets) in enumerate(buffers):
        if scenario.token_ids is None:
            run.write(ids, None)
            run.write(targets, None)
        else:
            tokens = np.asarray(scenario.token_ids[step, gpu], np.int64)
            run.write(ids, np.ascontiguousarray(tokens[:, :-1]))
            run.write(targets, np.ascontiguousarray(tokens[:, 1:]))


def fetch_loss(run: Run, values: Sequence[Buffer]) -> Generator[Fetch, Any, float | None]:
    """The mean loss of a step over its GPUs, each with a ``loss_value``; None on the virtual clock.

    Use as ``loss = yield from fetch_loss(run, [stage.loss_value])``.
    """
    total = 0.0
    for value in values:
        found = yield run.fetch(value)
        if found is None:
            return None
        total += float(np.asarray(found).reshape(-1)[0])
    return total / len(values)


class Trained(Protocol):
    """One GPU of a training program, as `train_steps` sees it: its tokens and its stage."""

    @property
    def ids(self) -> Buffer:
        """Token ids (batch, seq)."""

    @property
    def targets(self) -> Buffer:
        """What follows each of them (batch, seq)."""

    @property
    def stage(self) -> TrainingStage:
        """Whose loss is reported."""


def train_steps(
    run: Run, scenario: TrainingScenario, plans: Mapping[str, Plan], gpus: Sequence[Trained], first: int = 0
) -> Generator[Wish, Any, list[float | None]]:
    """Every step from `first` on: tokens arrive, the plans run one after the other, each a phase, and the loss is read.

    Use as ``losses = yield from train_steps(...)``. What a plan wrote to flash is committed when it has ended. A plan
    with the open size ``step`` is told the number of the step, from 1.
    """
    losses: list[float | None] = []
    for step in range(first, scenario.steps):
        write_tokens(run, scenario, step, [(gpu.ids, gpu.targets) for gpu in gpus])
        for phase, plan in plans.items():
            yield run.submit(plan, **({"step": step + 1} if "step" in plan.parameters else {}))
            run.mark(phase)
        losses.append((yield from fetch_loss(run, [gpu.stage.loss_value for gpu in gpus])))
        run.progress(step + 1, scenario.steps, "training")
    return losses


def training_result(
    run: Run,
    scenario: TrainingScenario,
    losses: Sequence[float | None],
    parameters: Iterable[tuple[Part | str, Operand]],
    gpus: int = 1,
) -> TrainingProgram:
    """What a training program hands on; use as ``return (yield from training_result(...))``.

    Args:
        run: of the program.
        scenario: what it was asked to do.
        losses: of every step, None on the virtual clock.
        parameters: where fp32 parameters lie: those of a part (elements), or of one tensor under its canonical name.
        gpus: that trained, each on its own batch.
    """
    trained_tokens = scenario.tokens * scenario.steps * gpus
    if not run.live:
        return TrainingResult(trained_tokens, gpus, STEPS)
    named: dict[str, Any] = {}
    extents = weight_shapes(scenario.shape)
    for owner, where in parameters:
        values = yield run.fetch(where)
        named |= {owner: values.reshape(extents[owner])} if isinstance(owner, str) else owner.named(values)
    return TrainingResult(trained_tokens, gpus, STEPS, [loss for loss in losses if loss is not None], named)
