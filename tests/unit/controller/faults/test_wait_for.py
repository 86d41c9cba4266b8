"""Who is waited for and waits for nobody."""

from hypothesis import given
from hypothesis import strategies as st

from controller.faults.wait_for import Wait, WaitForGraph


def test_in_a_chain_the_end_holds_up_all() -> None:
    graph = WaitForGraph([Wait("c", "b"), Wait("b", "a", "op 3"), Wait("d", "c")])
    assert graph.roots() == (("a",),)
    assert graph.held_up_by("a") == ("b", "c", "d")
    assert [wait.awaited for wait in graph.chain("d")] == ["c", "b", "a"]


def test_a_ring_that_waits_for_one_of_its_ranks_names_that_one() -> None:
    ring = [Wait(rank, rank - 1) for rank in range(1, 8)]
    assert WaitForGraph(ring).roots() == ((0,),)


def test_a_circle_is_named_as_a_whole() -> None:
    graph = WaitForGraph([Wait(0, 1), Wait(1, 0), Wait(2, 1)])
    assert graph.roots() == ((0, 1),)
    assert graph.held_up_by(0) == (1, 2)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.randoms())
def test_the_order_of_waits_means_nothing(pairs, shuffle) -> None:
    waits = [Wait(*pair) for pair in pairs]
    mixed = list(waits)
    shuffle.shuffle(mixed)
    one, other = WaitForGraph(waits), WaitForGraph(mixed)
    assert one.roots() == other.roots()
    assert one.waits == other.waits
    for members in one.roots():
        inside = set(members)
        assert not any(wait.waiter in inside and wait.awaited not in inside for wait in one.waits)
