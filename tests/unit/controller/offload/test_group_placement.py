"""Placement by bytes: the published example, limits, and nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.offload.group_placement import PLACEMENTS, Nodes, TensorGroup, cxl_aware, local_only, naive_interleaving

GIB = 2**30
NAMES = (
    ("momentum", 4, 1), ("variance", 4, 1), ("master_gradients", 4, 1), ("master_weights", 4, 1),
    ("compute_weights", 2, 2), ("checkpoints", 1, 3), ("compute_gradients", 2, 4),
)  # fmt: skip


def groups(parameters: int) -> list[TensorGroup]:
    return [TensorGroup(name, size * parameters, priority) for name, size, priority in NAMES]


def test_the_example_of_the_authors():
    # LFM2.5-8B: 8.3e9 parameters and 100 GiB of DRAM.
    placed = cxl_aware(groups(8_300_000_000), Nodes((100 * GIB, 256 * GIB)))
    for name in ("momentum", "variance", "master_gradients"):
        assert placed[name][1] == 0
    assert placed["master_weights"][0] == 100 * GIB - 3 * 33_200_000_000  # less than half of it is left
    for name in ("compute_weights", "checkpoints", "compute_gradients"):
        assert placed[name][0] == 0 and placed[name][1] > 0


def test_interleaving_takes_no_more_than_its_share_of_what_is_left():
    placed = cxl_aware(
        [TensorGroup("a", 100, 1), TensorGroup("b", 10, 1), TensorGroup("c", 9, 1)], Nodes((70, 500, 500))
    )
    assert placed["a"] == (33, 33, 34)  # a third, though 70 were left
    assert placed["b"] == (10, 0, 0)
    assert placed["c"] == (9, 0, 0)


def test_priority_goes_before_order():
    placed = cxl_aware([TensorGroup("late", 10, 4), TensorGroup("early", 10, 1)], Nodes((10, 100)))
    assert placed == {"early": (10, 0), "late": (0, 10)}


def test_without_dram_everything_is_striped_over_the_cards():
    assert cxl_aware([TensorGroup("a", 101, 1)], Nodes((0, 500, 500)))["a"] == (0, 50, 51)


def test_naive_goes_round_and_leaves_out_what_is_full():
    placed = naive_interleaving([TensorGroup("a", 100, 1), TensorGroup("b", 100, 1)], Nodes((60, 1000)))
    assert placed == {"a": (50, 50), "b": (10, 90)}
    assert naive_interleaving([TensorGroup("a", 90, 1)], Nodes((60, 1000), (1, 2)))["a"] == (30, 60)
    assert naive_interleaving([TensorGroup("a", 90, 1)], Nodes((60, 1000, 1000), (1, 2)))["a"] == (18, 36, 36)


def test_local_only_stays_in_dram_even_where_it_does_not_fit():
    assert local_only([TensorGroup("a", 100, 1)], Nodes((10, 1000)))["a"] == (100, 0)


@given(
    st.sampled_from(sorted(PLACEMENTS)),
    st.lists(st.integers(0, 10_000), min_size=1, max_size=7),
    st.lists(st.integers(0, 20_000), min_size=1, max_size=4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_every_byte_is_placed_once_and_no_room_is_overdrawn_while_there_is_some(name, sizes, room, weights):
    asked = [TensorGroup(str(place), size, 1 + place % 4) for place, size in enumerate(sizes)]
    placed = PLACEMENTS[name](asked, Nodes(tuple(room), weights))
    assert {group.name: group.nbytes for group in asked} == {key: sum(value) for key, value in placed.items()}
    assert all(share >= 0 for shares in placed.values() for share in shares)
    used = [sum(column) for column in zip(*placed.values(), strict=True)]
    if name == "cxl_aware" and len(room) > 1:
        assert used[0] <= room[0]
    if name == "naive_interleaving" and sum(sizes) <= sum(room):
        assert all(taken <= space for taken, space in zip(used, room, strict=True))


@pytest.mark.parametrize("name", ["cxl_aware", "naive_interleaving"])
def test_more_dram_never_puts_less_there(name):
    before = 0
    for room in range(0, 3000, 100):
        placed = PLACEMENTS[name](groups(100), Nodes((room, 10_000)))
        there = sum(shares[0] for shares in placed.values())
        assert there >= before
        before = there
