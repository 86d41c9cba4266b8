"""Drawn streams have the published means, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from controller.errors import BadWorkload
from controller.workload.lengths import REQUESTS, TRACES, draw_stream, sigma_of
from controller.workload.requests import RequestStream


@pytest.mark.parametrize("name", TRACES)
def test_means_and_medians_are_those_of_the_trace(name: str) -> None:
    lengths, stream = TRACES[name], draw_stream(name, 0, 200_000)
    assert stream.prompt_tokens.mean() == pytest.approx(lengths.prompt_mean, rel=0.01)
    assert stream.output_tokens.mean() == pytest.approx(lengths.output_mean, rel=0.02)
    median = lengths.prompt_mean * np.exp(-(lengths.prompt_sigma**2) / 2)
    assert np.median(stream.prompt_tokens) == pytest.approx(median, rel=0.01)


def test_the_published_medians_give_the_spread() -> None:
    """Splitwise: prompts of conversations have a mean of 1,155 and a median of 1,020 tokens."""
    assert 1020 * np.exp(sigma_of(1154.7, 1020.0) ** 2 / 2) == pytest.approx(1154.7)
    assert not TRACES["azure_conv"].assumed and TRACES["kimi_conv"].assumed


def test_a_seed_gives_one_stream_and_another_seed_another() -> None:
    first, again, other = draw_stream("azure_conv", 3), draw_stream("azure_conv", 3), draw_stream("azure_conv", 4)
    assert first.count == REQUESTS == 2000
    assert (first.prompt_tokens == again.prompt_tokens).all() and (first.output_tokens == again.output_tokens).all()
    assert (first.prompt_tokens != other.prompt_tokens).any()


@pytest.mark.parametrize(("prompts", "outputs"), [([], []), ([1, 2], [1]), ([0], [1]), ([1], [0])])
def test_what_is_no_stream_is_refused(prompts: list[int], outputs: list[int]) -> None:
    with pytest.raises(BadWorkload):
        RequestStream("mine", np.array(prompts, np.int64), np.array(outputs, np.int64))
