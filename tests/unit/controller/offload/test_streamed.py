"""The order in which items are fetched, used and sent back."""

import pytest

from controller.offload.streamed import Streamed


def events(count: int, hops: int, **given) -> list[str]:
    seen: list[str] = []
    through = [lambda item, hop=hop: seen.append(f"hop{hop} {item}") for hop in range(hops)]
    back = (lambda item: seen.append(f"back {item}")) if given.pop("back", False) else None
    for item in Streamed(range(count), *through, back=back, **given):
        seen.append(f"use {item}")
    return seen


def test_two_items_are_fetched_ahead_and_the_next_follows_the_use_whose_place_it_takes():
    assert events(4, 1) == [
        "hop0 0", "hop0 1", "use 0", "hop0 2", "use 1", "hop0 3", "use 2", "use 3",
    ]  # fmt: skip


def test_every_hop_holds_two_items_and_one_that_leaves_makes_room_in_the_hop_before():
    assert events(6, 2) == [
        "hop0 0", "hop0 1", "hop1 0", "hop0 2", "hop1 1", "hop0 3",
        "use 0", "hop1 2", "hop0 4", "use 1", "hop1 3", "hop0 5", "use 2", "hop1 4", "use 3", "hop1 5", "use 4",
        "use 5",
    ]  # fmt: skip


def test_what_goes_back_follows_the_next_fetch():
    assert events(2, 1, ahead=1, back=True) == ["hop0 0", "use 0", "hop0 1", "back 0", "use 1", "back 1"]


def test_nothing_ahead_fetches_at_the_use():
    assert events(2, 2, ahead=0) == ["hop0 0", "hop1 0", "use 0", "hop0 1", "hop1 1", "use 1"]


@pytest.mark.parametrize("ahead", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_item_passes_each_hop_once_in_order_and_no_hop_holds_more_than_its_places(ahead, hops, count):
    seen = events(count, hops, ahead=ahead)
    assert len(seen) == count * (hops + 1)
    for hop in range(hops):
        at = [seen.index(f"hop{hop} {item}") for item in range(count)]
        left = [seen.index(f"hop{hop + 1} {item}" if hop + 1 < hops else f"use {item}") for item in range(count)]
        assert at == sorted(at) and all(came < went for came, went in zip(at, left, strict=True))
        for item in range(max(1, ahead), count):
            assert at[item] > left[item - max(1, ahead)]


def test_what_is_fetched_first_is_there_before_the_loop_begins():
    seen: list[int] = []
    Streamed(range(5), seen.append, ahead=2)
    assert seen == [0, 1]
