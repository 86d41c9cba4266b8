"""Every strategy of the table: values, full tiers, bytes and its timeline. A new one is tested by being there."""

from pathlib import Path

import pytest

from controller.conformance.conservation import lost_bytes, wrongly_copied_bytes
from controller.conformance.suite import changed_timeline
from controller.conformance.tiers import unreported_full_tiers
from controller.conformance.toys import SHORT, shapes, toy
from controller.conformance.values import wrong_values
from controller.strategies.table import STRATEGIES

TIMELINES = Path(__file__).parents[3] / "golden" / "timelines"
RUNS = [(name, model, True) for name in STRATEGIES for model in shapes(name)]
RUNS += [(name, "tiny-opt", False) for name in STRATEGIES]
"""Backwards shows a missing edge with every model; program order, in which it might hide, is taken with one."""


@pytest.mark.parametrize(("strategy", "model", "backwards"), RUNS)
def test_values_are_those_of_the_plain_run(strategy: str, model: str, backwards: bool) -> None:
    assert not wrong_values(toy(strategy, shapes(strategy)[model]), backwards=backwards)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_full_tier_is_reported(strategy: str) -> None:
    assert not unreported_full_tiers(toy(strategy, shapes(strategy)["tiny-opt"]))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bytes_are_conserved(strategy: str) -> None:
    assert not lost_bytes(toy(strategy, shapes(strategy)["tiny-opt"]))


@pytest.mark.parametrize("strategy", [name for name, entry in STRATEGIES.items() if entry.has_values])
def test_bytes_that_are_copied_are_those_of_the_plans(strategy: str) -> None:
    assert not wrongly_copied_bytes(toy(strategy, shapes(strategy)["tiny-opt"], SHORT))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_timeline_is_the_golden_one(strategy: str, request: pytest.FixtureRequest) -> None:
    """``pytest --update-timelines`` writes them anew."""
    update = request.config.getoption("--update-timelines")
    assert not changed_timeline(
        toy(strategy, shapes(strategy)["tiny-opt"], SHORT), TIMELINES / f"{strategy}.txt", update=update
    )


def test_no_timeline_is_left_of_a_strategy_that_went() -> None:
    assert {path.stem for path in TIMELINES.glob("*.txt")} == set(STRATEGIES)
