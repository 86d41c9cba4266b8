"""The mean rule has a floor, and several bad ranks hide each other; medians see them."""

import numpy as np
import pytest

from controller.diagnosis.detectors.c4d import LINE, POINT, floor_of, floor_of_one
from controller.diagnosis.wait_matrix import flagged


def columns(bad, times, ranks, *, by_median=False):
    waits = np.ones((ranks, ranks))
    waits[:, :bad] = times
    np.fill_diagonal(waits, 0.0)
    known = ~np.eye(ranks, dtype=bool)
    return set(flagged(waits, known, by_median=by_median, line=LINE, point=POINT)[0])


@pytest.mark.parametrize(("ranks", "floor"), [(8, 4.2), (16, 3.46), (256, 3.02)])
def test_the_floor_for_one_bad_column_is_the_published_one(ranks, floor) -> None:
    assert floor_of_one(ranks) == pytest.approx(floor, abs=0.01)
    assert columns(1, floor_of_one(ranks) * 0.99, ranks) == set()
    assert columns(1, floor_of_one(ranks) * 1.01, ranks) == {0}


@pytest.mark.parametrize("ranks", [2, 3])
def test_with_three_ranks_it_never_fires(ranks) -> None:
    assert floor_of_one(ranks) == np.inf
    assert columns(1, 1e6, ranks) == set()


@pytest.mark.parametrize(("bad", "ranks"), [(2, 16), (4, 16), (5, 16)])
def test_several_bad_columns_raise_the_floor(bad, ranks) -> None:
    floor = floor_of(bad, ranks)
    assert floor > floor_of_one(ranks)
    assert columns(bad, floor * 0.99, ranks) == set()
    assert columns(bad, floor * 1.01, ranks) == set(range(bad))


def test_a_third_of_the_ranks_hides_itself_and_medians_see_it() -> None:
    assert floor_of(6, 16) == np.inf
    assert columns(6, 1e6, 16) == set()
    assert columns(6, 4.0, 16, by_median=True) == set(range(6))


def test_one_cell_is_a_path_and_a_row_a_receiver() -> None:
    waits = np.ones((8, 8))
    known = ~np.eye(8, dtype=bool)
    waits[2, 5] = 20.0
    assert flagged(waits, known, by_median=False, line=LINE, point=POINT)[2].keys() == {(2, 5)}
    waits[2, :] = 20.0
    found = flagged(waits, known, by_median=False, line=LINE, point=POINT)
    assert found[1].keys() == {2}
    assert found[2] == {}
