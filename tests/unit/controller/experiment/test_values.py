"""When a training run counts as equal to the plain one."""

import numpy as np
import pytest

from controller.experiment.values import compare_training
from controller.models.training import ADAM
from controller.models.training_reference import TrainingReference

PARAMETERS = {"embed": np.ones((2, 3), np.float32), "final_norm.bias": np.zeros(3, np.float32)}
REFERENCE = TrainingReference((2.0, 1.5), PARAMETERS, {}, "plain")


def parameters(**change):
    return {name: value + np.float32(change.get(name, 0.0)) for name, value in PARAMETERS.items()}


def test_equal_runs_are_equal():
    found = compare_training([2.0, 1.5], parameters(), REFERENCE)
    assert found["values_equal"] is True
    assert (found["losses"], found["reference_losses"]) == ([2.0, 1.5], [2.0, 1.5])
    assert found["max_loss_difference"] == found["max_parameter_difference"] == 0.0


def test_differences_are_told_and_small_ones_forgiven():
    found = compare_training([2.0, 1.5 + 1e-6], parameters(embed=1e-7), REFERENCE)
    assert found["values_equal"] is True
    assert found["max_loss_difference"] == pytest.approx(1e-6)
    assert 0 < found["max_parameter_difference"] < found["parameter_tolerance"]


@pytest.mark.parametrize(
    ("losses", "values"),
    [
        ([2.0, 1.501], parameters()),
        ([2.0], parameters()),
        ([2.0, 1.5, 1.0], parameters()),
        ([2.0, float("nan")], parameters()),
        ([float("inf"), 1.5], parameters()),
        ([2.0, 1.5], parameters(embed=ADAM.lr)),
        ([2.0, 1.5], parameters(embed=float("nan"))),
        ([2.0, 1.5], {"embed": PARAMETERS["embed"]}),
        ([2.0, 1.5], {**parameters(), "head": np.zeros(1)}),
        ([2.0, 1.5], None),
    ],
)
def test_anything_else_is_not_equal(losses, values):
    assert compare_training(losses, values, REFERENCE)["values_equal"] is False
