"""Arrivals from text, and what is drawn from them."""

import numpy as np
import pytest

from controller.errors import BadWorkload
from controller.serving.requests.arrivals import read_arrivals


def draw(text: str, count: int = 20_000) -> np.ndarray:
    return read_arrivals(text).draw(count, np.random.Generator(np.random.PCG64(1)))


def test_poisson_arrivals_have_their_rate_and_a_variation_of_one() -> None:
    gaps = np.diff(draw("poisson:2.5/s"))
    assert gaps.mean() == pytest.approx(0.4, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.03)


def test_gamma_arrivals_vary_as_asked() -> None:
    gaps = np.diff(draw("gamma:150/min,cv=4", 200_000))
    assert gaps.mean() == pytest.approx(0.4, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(4, rel=0.05)


def test_bursts_come_at_equal_distances() -> None:
    assert draw("burst:10/s,every=0.5s", 11).tolist() == [0.0] * 5 + [0.5] * 5 + [1.0]


def test_users_of_a_closed_loop_and_a_batch_come_at_once() -> None:
    assert read_arrivals("closed:32").users == 32
    assert draw("inf", 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("posson:1/s", "did you mean 'poisson'"),
        ("poisson:1", "'1' is no rate; write 2.5/s"),
        ("poisson:-1/s", "no number of more than 0"),
        ("poisson:1/s,cv=2", "nothing is called 'cv' here"),
        ("gamma:1/s,cv", "not of the form name=value"),
        ("closed:0", "no number of users"),
    ],
)
def test_what_is_no_arrivals_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadWorkload, match="requests") as raised:
        read_arrivals(text)
    assert said in str(raised.value)
