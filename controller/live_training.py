"""A live training run from names: draws the data, runs on node processes, compares with plain torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.errors import BadWorkload
from controller.execute.phases import Phases
from controller.execute.trace import Trace
from controller.experiment import LIVE_DTYPE, Experiment, Request, training_seq
from controller.live_experiment import run_scenario
from controller.models.shape import ModelShape
from controller.models.training import ADAM, InitialWeights, draw_tokens
from controller.models.training_reference import TrainingReference, train_reference
from controller.program.run import ProgressSink
from controller.strategies.table import Strategy
from controller.strategies.training_scenario import TrainingScenario
from controller.topology.schema import Topology

LOSS_TOLERANCE = 1e-5
"""Largest difference of a loss from the plain one, over the plain one."""
PARAMETER_TOLERANCE = 0.01
"""Largest difference of a parameter, over what Adam can have moved it at most, about the learning rate a step.

Sums in another order differ by some 1e-7 of the terms. Adam divides a gradient by its own size, so that where a
gradient is nothing but such a rest, the rest over `AdamSettings.eps` is what its parameter differs by; a gradient that
is wrong or missing moves parameters by their whole steps.
"""


def run_live_training(
    request: Request,
    strategy: Strategy,
    topology: Topology,
    shape: ModelShape,
    trace: Trace | None,
    progress: ProgressSink | None,
) -> Experiment:
    """Runs `request` on node processes and compares losses and parameters with a plain single-process run.

    Raises:
        UserError: wrong input, or a machine that cannot carry the run; nothing was started.
        RunError: the run itself ended badly.
    """
    if request.prompt is not None or request.effective_context is not None:
        raise BadWorkload("--prompt and --effective-context are for generation; training takes --batch, --seq, --steps")
    seq = training_seq(request, shape)
    for name, value in (("--batch", request.batch), ("--seq", seq), ("--steps", request.steps)):
        if value < 1:
            raise BadWorkload(f"{name} is {value}; at least 1 is needed")
    phases = Phases(progress)
    phases.begin("load", "drawing weights and tokens")
    weights = InitialWeights(shape, request.seed)
    gpus = max(1, len(topology.of_kind("gpu")))
    token_ids = draw_tokens(shape, request.steps, gpus, request.batch, seq, request.seed)
    scenario = TrainingScenario(
        topology,
        shape,
        request.batch,
        seq,
        request.steps,
        LIVE_DTYPE,
        weights,
        token_ids,
        request.options,
        request.seed,
    )
    experiment = run_scenario(request, strategy, topology, shape, scenario, trace, phases)
    reports = experiment.outcome.reports
    losses, parameters = reports.pop("losses", None), reports.pop("parameters", None)
    if experiment.outcome.ok and losses is None:
        experiment.comparison["not_compared"] = "the program reported no losses, so no value was compared"
    elif experiment.outcome.ok:
        phases.begin("reference", "plain reference")
        reference = train_reference(weights, token_ids[:, : int(reports.get("gpus", 1))])
        phases.end()
        experiment.comparison |= compare_training(losses, parameters, reference)
    return experiment


def compare_training(
    losses: list[float], parameters: dict[str, npt.NDArray[Any]] | None, reference: TrainingReference
) -> dict[str, Any]:
    """How a live training run differs from the plain one.

    Args:
        losses: of every step.
        parameters: after the last step, by canonical name; None when the program reports none.
        reference: the plain run.

    Returns:
        ``losses``, ``reference_losses``, ``max_loss_difference``, ``max_parameter_difference`` (None without
        parameters), ``loss_tolerance`` and ``parameter_tolerance`` (both absolute) and ``values_equal``: as many
        losses as steps, every parameter there, and no difference beyond its tolerance.
    """
    steps = len(reference.losses)
    loss_tolerance = LOSS_TOLERANCE * max(map(abs, reference.losses))
    parameter_tolerance = PARAMETER_TOLERANCE * ADAM.lr * steps
    loss_difference = _largest(ours - plain for ours, plain in zip(losses, reference.losses, strict=False))
    worst: float | None = None
    if parameters is not None:
        there = [name for name in reference.parameters if name in parameters]
        worst = _largest(reference.parameters[name].astype(np.float64) - parameters[name] for name in there)
    # Asked for what must hold, not for what must not: a value that is no number passes neither question.
    equal = len(losses) == steps and loss_difference <= loss_tolerance
    equal = equal and parameters is not None and parameters.keys() == reference.parameters.keys()
    equal = equal and worst is not None and worst <= parameter_tolerance
    return {
        "losses": losses,
        "reference_losses": list(reference.losses),
        "max_loss_difference": loss_difference,
        "max_parameter_difference": worst,
        "loss_tolerance": loss_tolerance,
        "parameter_tolerance": parameter_tolerance,
        "values_equal": equal,
        "reference": reference.made_by,
    }


def _largest(differences: Iterable[Any]) -> float:
    """The largest absolute value of all elements; not a number where one of them is none."""
    return float(
        np.max([np.abs(difference).max(initial=0.0) for difference in map(np.asarray, differences)], initial=0)
    )
