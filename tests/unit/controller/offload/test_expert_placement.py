"""Experts over devices: every expert has a slot, and rows add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadWorkload
from controller.offload.expert_placement import placed


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 12), st.integers(1, 40), st.integers(1, 4))
def test_rows_add_up_and_copies_share(ranks, per_rank, redundant, tokens, chosen):
    count = max(1, ranks * per_rank - redundant)
    try:
        placement = placed(count, ranks, redundant)
    except BadWorkload as error:
        assert "write" in str(error) or "copies go to other devices" in str(error) or "twice" in str(error)
        return
    assert set(placement.experts) == set(range(count))
    chosen = min(chosen, count)
    rows = placement.rows_of_slots(tokens, chosen)
    assert sum(rows) == tokens * chosen
    by_expert = [
        [own for own, e in zip(rows, placement.experts, strict=True) if e == expert] for expert in range(count)
    ]
    assert all(max(own) - min(own) <= 1 for own in by_expert)
    assert max(map(sum, by_expert)) - min(map(sum, by_expert)) <= 1


def test_deepseeks_decode_group_has_one_expert_a_die():
    placement = placed(256, 320, 64)
    assert placement.slots == 1
    assert sorted(placement.experts)[:4] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 3), "8 experts and 0 redundant copies do not divide over 3 devices; write --redundant 1"),
        ((4, 2, 6), "6 redundant copies of 4 experts"),
        ((4, 2, 0, (0, 1, 2, 2)), "leaves expert 3 out"),
        ((3, 2, 0, (0, 1, 2, 2)), "has expert 2 twice on device 1"),
        ((4, 2, 0, (0, 1, 2, 4)), "names expert 4; the model has experts 0 to 3"),
        ((4, 3, 0, (0, 1, 2, 3)), "a placement of 4 slots over 3 devices"),
    ],
)
def test_a_placement_that_cannot_be_says_why(arguments, message):
    with pytest.raises(BadWorkload, match=message):
        placed(*arguments)
