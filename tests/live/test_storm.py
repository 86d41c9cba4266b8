"""The first cycle of a campaign, in which every kind of disturbance strikes once."""

from __future__ import annotations

import pytest

from tests.support.storm.campaign import run_entry
from tests.support.storm.schedule import KINDS, entry

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]
SEED = 3786
"""Its first cycle strikes decoding, which starts sooner than training, in all kinds but one."""


@pytest.mark.parametrize("index", range(len(KINDS)), ids=[entry(SEED, index).kind for index in range(len(KINDS))])
def test_a_strike_is_survived_or_named_and_leaves_nothing(index) -> None:
    verdict = run_entry(entry(SEED, index))
    assert not verdict.faults, f"{verdict.note}; again: scripts/storm --seed {SEED} --only {index}"
    if verdict.missed:
        pytest.skip(f"struck too late: {verdict.note}")
