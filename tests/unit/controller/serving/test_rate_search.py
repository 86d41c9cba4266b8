"""The search of a rate on functions whose answer is known."""

import pytest

from controller.serving.rate_search import LEAST_RATIO, find_rate


@pytest.mark.parametrize("limit", [0.013, 0.7, 1.0, 37.0])
def test_the_highest_rate_is_found_to_two_per_cent(limit: float) -> None:
    found = find_rate(lambda rate: 1.0 if rate <= limit else 0.0, 0.9)
    assert limit / (1 + LEAST_RATIO) <= found.rate_per_s <= limit
    assert found.attained_ratio == 1.0


def test_an_objective_that_no_rate_attains_says_the_best() -> None:
    found = find_rate(lambda rate: 0.5 / (1 + rate), 0.9)
    assert found.rate_per_s == 0
    assert found.attained_ratio == pytest.approx(0.5, abs=0.01)
