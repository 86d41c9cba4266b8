"""The largest model of a ladder that a strategy can train: each is asked for its buffers, until one does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.errors import OutOfMemory
from controller.execute.survey import SurveyRun
from controller.experiment.run_spec import RunSpec
from controller.experiment.virtual import prepare, virtual_scenario


def shortage_of(request: RunSpec) -> str:
    """What is missing for `request`, or "" when everything that it places fits.

    Only as much of the program is run as comes before its first plan ends: training places everything before.

    Raises:
        UserError: wrong input.
    """
    strategy, topology, shape = prepare(request)
    scenario = virtual_scenario(request, strategy, topology, shape)
    program = strategy.program()(SurveyRun(topology), scenario)
    try:
        next(program, None)
    except OutOfMemory as error:
        return str(error)
    finally:
        program.close()
    return ""


def largest_model(request: RunSpec, models: Sequence[str]) -> str | None:
    """The last of `models`, in ascending order, before the first that does not fit; None when none does.

    Raises:
        UserError: wrong input.
    """
    largest: str | None = None
    for model in models:
        if shortage_of(replace(request, model=model)):
            return largest
        largest = model
    return largest


def placed_bytes(request: RunSpec, tier: str) -> int:
    """What `request` places in all tiers of that name before its first step [bytes].

    Raises:
        UserError: wrong input.
        OutOfMemory: it does not fit.
    """
    strategy, topology, shape = prepare(request)
    run = SurveyRun(topology)
    program = strategy.program()(run, virtual_scenario(request, strategy, topology, shape))
    try:
        next(program, None)
    finally:
        program.close()
    return sum(buffer.nbytes for buffer in run.found.placed if buffer.tier == tier)
