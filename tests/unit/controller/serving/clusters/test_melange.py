"""The cheapest mix against every mix, where there are few."""

from itertools import product

import pytest

from controller.errors import BadWorkload
from controller.serving.clusters.melange import place

PRICES = {"a10g": 1.01, "a100": 3.67}


def cheapest(rates: list[float], most: dict[str, list[float]], slices: int) -> float:
    names, best = list(PRICES), float("inf")
    for choice in product(names, repeat=len(rates) * slices):
        load = dict.fromkeys(names, 0.0)
        for part, name in enumerate(choice):
            rate = most[name][part // slices]
            load[name] += rates[part // slices] / slices / rate if rate else float("inf")
        best = min(best, sum(PRICES[name] * -(-round(value, 9) // 1) for name, value in load.items()))
    return best


@pytest.mark.parametrize("rates", [[1.0, 1.0], [6.0, 0.5], [0.3, 4.0]])
def test_it_is_the_cheapest(rates: list[float]) -> None:
    most = {"a10g": [4.0, 0.3], "a100": [9.0, 2.5]}
    mix = place(rates, most, PRICES, 3)
    assert mix.usd_per_hour == pytest.approx(cheapest(rates, most, 3))
    for name, price in PRICES.items():
        alone = -(-sum(rate / each for rate, each in zip(rates, most[name], strict=True)) // 1) * price
        assert mix.usd_per_hour <= alone + 1e-9


def test_a_bucket_that_nothing_serves_is_refused() -> None:
    with pytest.raises(BadWorkload, match="bucket 1"):
        place([1.0, 1.0], {"a10g": [1.0, 0.0], "a100": [1.0, 0.0]}, PRICES)
