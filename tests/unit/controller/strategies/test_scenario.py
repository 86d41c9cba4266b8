"""What may be asked of a strategy."""

from dataclasses import replace

import pytest

from controller.errors import BadWorkload
from controller.models.catalog import load_model
from controller.models.scenario import Scenario
from controller.models.training_scenario import TrainingScenario
from controller.topology.loader import load_topology


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario(load_topology("a6000_csd"), load_model("opt-13b"), 4, 1024, 1024, "fp16")


@pytest.mark.parametrize("name", ["batch", "prompt_tokens", "output_tokens"])
def test_sizes_are_positive(scenario: Scenario, name: str) -> None:
    with pytest.raises(BadWorkload, match=f"{name.replace('_', ' ')} is 0"):
        replace(scenario, **{name: 0})


@pytest.mark.parametrize(
    ("name", "limit", "cost"),
    [
        ("batch", 1 << 20, "between two layers alone take 9.77e+06 GiB"),
        ("prompt_tokens", 1 << 24, "one such sequence takes 9.54e+03 GiB"),
        ("output_tokens", 1_000_000, "takes 35 days"),
    ],
)
def test_what_would_not_end_is_refused_with_limit_and_cost(
    scenario: Scenario, name: str, limit: int, cost: str
) -> None:
    with pytest.raises(BadWorkload) as refusal:
        replace(scenario, **{name: 10**9})
    text = str(refusal.value)
    assert f"is {10**9}; the limit is {limit:,}: " in text and cost in text and "\n" not in text
    long_lived = replace(scenario, shape=load_model("llama-7b"), prompt_tokens=8)
    assert getattr(replace(long_lived, **{name: limit}), name) == limit


@pytest.mark.parametrize(("name", "limit"), [("batch", 1 << 20), ("seq", 1 << 24), ("steps", 1_000_000)])
def test_training_has_the_same_limits(scenario: Scenario, name: str, limit: int) -> None:
    training = TrainingScenario(scenario.topology, load_model("llama-7b"), 1, 8, 1, "fp16")
    assert getattr(replace(training, **{name: limit}), name) == limit
    with pytest.raises(BadWorkload, match=f"^{name} is {limit + 1}; the limit is {limit:,}: "):
        replace(training, **{name: limit + 1})


def test_the_context_is_what_the_model_has_positions_for(scenario: Scenario) -> None:
    assert scenario.max_tokens == 2048
    with pytest.raises(BadWorkload, match="2049; opt-13b has positions for 2048"):
        replace(scenario, output_tokens=1025)


def test_the_context_is_real_unless_said_otherwise(scenario: Scenario) -> None:
    assert scenario.context_scale == 1.0
    assert [scenario.effective_tokens(tokens) for tokens in (0, 1, 1500)] == [0, 1, 1500]


def test_an_effective_context_scales_every_context(scenario: Scenario) -> None:
    half = replace(scenario, effective_context=768.0)
    assert half.context_scale == 0.5
    assert [half.effective_tokens(tokens) for tokens in (0, 1, 2, 1000, 1536)] == [0, 1, 1, 500, 768]


def test_a_window_leaves_as_many_tokens_of_an_effective_context_as_of_the_real_one(scenario: Scenario) -> None:
    half = replace(scenario, effective_context=768.0)
    assert [scenario.effective_start(first, 1000) for first in (0, 400, 1000, 1200)] == [0, 400, 1000, 1000]
    assert [half.effective_start(first, 1000) for first in (0, 400, 900, 1000)] == [0, 0, 400, 500]
