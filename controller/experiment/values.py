"""How far the values of a live run are from those of the plain one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.models.training import ADAM
from controller.models.training_reference import TrainingReference

LOSS_TOLERANCE = 1e-5
"""Largest difference of a loss from the plain one, over the plain one."""
PARAMETER_TOLERANCE = 0.01
"""Largest difference of a parameter, over what Adam can have moved it at most, about the learning rate a step.

Sums in another order differ by some 1e-7 of the terms. Adam divides a gradient by its own size, so that where a
gradient is nothing but such a rest, the rest over `AdamSettings.eps` is what its parameter differs by; a gradient that
is wrong or missing moves parameters by their whole steps.
"""


def compare_generation(
    tokens: Sequence[Sequence[int]],
    logits: Sequence[Any],
    expected_tokens: Sequence[Sequence[int]],
    expected_logits: Any,
) -> dict[str, Any]:
    """How a live generation differs from the plain one.

    Args:
        tokens: generated ids of each row, up to the end of the run.
        logits: of every step, each (rows, vocab).
        expected_tokens: ids of the reference for each row, cut after the token that ended it.
        expected_logits: of the reference (steps, rows, vocab).

    Returns:
        ``tokens_equal`` of ``tokens_compared``, and over all steps whose context was equal ``max_logit_difference`` and
        ``logit_error_ratio``, the root of the mean square of the difference over that of the expected logits about
        their mean.
    """
    equal = compared = 0
    worst = squares = expected_squares = 0.0
    for row, (ours, expected) in enumerate(zip(tokens, expected_tokens, strict=True)):
        compared += len(expected)
        same_context = True
        for step, (our_token, token) in enumerate(zip(ours, expected, strict=False)):
            if same_context:
                difference = np.abs(np.asarray(logits[step])[row].astype(np.float64) - expected_logits[step][row])
                worst = float(np.maximum(worst, difference.max()))  # max() would lose a NaN
                squares += float(np.square(difference).sum())
                centred = expected_logits[step][row] - expected_logits[step][row].mean()
                expected_squares += float(np.square(centred, dtype=np.float64).sum())
            equal += our_token == token
            same_context = same_context and our_token == token
    ratio = float(np.sqrt(squares / expected_squares)) if expected_squares else 0.0
    return {
        "tokens_equal": equal, "tokens_compared": compared, "max_logit_difference": worst, "logit_error_ratio": ratio,
    }  # fmt: skip


def compare_training(
    losses: list[float], parameters: Mapping[str, npt.NDArray[Any]] | None, reference: TrainingReference
) -> dict[str, Any]:
    """How a live training run differs from the plain one.

    Args:
        losses: of every step.
        parameters: after the last step, by canonical name; None when the program returns none.
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
