"""The values that an out-of-core training program owes at its end, from parameters in pieces of other tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from controller.models.training import Part
from controller.models.training_scenario import TrainingScenario
from controller.plan.build import Operand, as_view
from controller.program.results import TrainingResult
from controller.program.run import Run, TrainingProgram

Masters = Sequence[tuple[Sequence[Operand], Sequence[Part]]]
"""Pieces that begin, one after the other, with the fp32 parameters of some parts in that order."""


def result_of(
    run: Run, scenario: TrainingScenario, losses: Sequence[float | None], masters: Masters, gpus: int = 1
) -> TrainingProgram:
    """What a training program hands on; use as ``return (yield from result_of(...))``.

    The rate is that of the whole run: every step is a steady one, since all states return to where they were.

    Args:
        run: of the program.
        scenario: what it was asked to do.
        losses: of every step, None on the virtual clock.
        masters: where the fp32 parameters lie.
        gpus: that trained, each on its own batch.
    """
    trained_tokens = scenario.tokens * len(losses) * gpus
    if not run.live:
        return TrainingResult(trained_tokens, gpus)
    named: dict[str, Any] = {}
    for pieces, parts in masters:
        values: list[Any] = []
        for piece in pieces:
            values.append(np.asarray((yield run.fetch(as_view(piece)))).reshape(-1))
        flat = np.concatenate(values)
        start = 0
        for part in parts:
            named |= part.named(flat[start : start + part.layout.elements])
            start += part.layout.elements
    return TrainingResult(trained_tokens, gpus, None, [loss for loss in losses if loss is not None], named)
