"""Changes of a mean are found where they are, and verification leaves only those that are large enough."""

import numpy as np
import pytest

from controller.diagnosis.change_point import change_points, period_of, verified, window_rule
from controller.diagnosis.probe_passes import passes


def series(*parts, noise=0.02):
    random = np.random.default_rng(3)
    return np.concatenate([mean * (1.0 + noise * random.standard_normal(count)) for mean, count in parts])


def test_a_change_is_found_where_it_is() -> None:
    found = change_points(series((1.0, 100), (1.3, 80)))
    assert len(found) == 1
    assert found[0] == pytest.approx(100, abs=2)


def test_no_change_is_found_in_noise() -> None:
    assert change_points(series((1.0, 300))) == ()
    assert change_points([]) == ()


def test_verification_leaves_what_is_ten_per_cent_slower() -> None:
    small, large = series((1.0, 100), (1.06, 100), noise=0.005), series((1.0, 100), (1.2, 100), noise=0.005)
    assert change_points(small)
    assert verified(small, change_points(small)) == ()
    assert len(verified(large, change_points(large))) == 1
    faster = series((1.2, 100), (1.0, 100), noise=0.005)
    assert verified(faster, change_points(faster)) == ()
    assert len(verified(faster, change_points(faster), slower_only=False)) == 1


def test_the_window_rule_misses_what_is_less_than_its_ratio() -> None:
    assert window_rule(series((1.0, 50), (1.15, 50))) == ()
    assert window_rule(series((1.0, 50), (1.5, 50)))[0] == 50


def test_the_period_is_the_number_of_operations_of_an_iteration() -> None:
    assert period_of([1.0, 2.0, 7.0] * 20) == 3
    assert period_of(np.random.default_rng(1).random(60)) is None


def test_probes_of_a_ring_and_a_tree_take_few_passes() -> None:
    def ring(size):
        return [(rank, (rank + 1) % size) for rank in range(size)]

    assert len(passes(ring(8))) == 2
    assert len(passes(ring(9))) == 3
    assert len(passes([(child, (child - 1) // 2) for child in range(1, 31)])) <= 4
    for made in passes(ring(9)):
        ranks = [rank for pair in made for rank in pair]
        assert len(ranks) == len(set(ranks))
    assert sorted(pair for made in passes(ring(8)) for pair in made) == sorted((min(p), max(p)) for p in ring(8))
