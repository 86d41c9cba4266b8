"""Lengths from text, and what is drawn from them."""

import numpy as np
import pytest

from controller.errors import BadWorkload
from controller.serving.requests.length_model import PUBLISHED, QuantileLength, read_lengths


def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(3))


def test_fixed_lengths() -> None:
    lengths = read_lengths("in=1024,out=256")
    assert lengths.prompt.draw(2, generator()).tolist() == [1024, 1024]
    assert lengths.output.draw(1, generator()).tolist() == [256]


def test_log_normal_lengths_have_mean_and_median() -> None:
    drawn = read_lengths("lognormal:in=1155/1020,out=200").prompt.draw(200_000, generator())
    assert drawn.mean() == pytest.approx(1155, rel=0.01)
    assert np.median(drawn) == pytest.approx(1020, rel=0.01)


@pytest.mark.parametrize("name", [name for name, each in PUBLISHED.items() if isinstance(each.prompt, QuantileLength)])
def test_printed_quantiles_are_met(name: str) -> None:
    lengths = PUBLISHED[name].prompt
    assert isinstance(lengths, QuantileLength)
    drawn = lengths.draw(200_000, generator())
    for share, tokens in lengths.quantiles:
        assert np.quantile(drawn, share) == pytest.approx(tokens, rel=0.06, abs=1.0)
    assert drawn.mean() == pytest.approx(lengths.mean, rel=0.35)


def test_unknown_lengths_name_the_published_ones() -> None:
    with pytest.raises(BadWorkload, match="did you mean 'sharegpt'"):
        read_lengths("sharegptt")
    with pytest.raises(BadWorkload, match="no whole number of at least 1 token"):
        read_lengths("in=0,out=5")
