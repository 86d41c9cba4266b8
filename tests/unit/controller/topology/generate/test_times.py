"""What a generated fabric does to the time of a collective: oversubscription, failed and degraded links, slow ranks."""

from __future__ import annotations

import pytest

from controller.collectives.call import Call
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import measure, prepare
from controller.topology.loader import load_topology

SMALL = ("fabric.leaves=2", "fabric.hosts_per_leaf=1", "fabric.spines=4", "options.routing=spray")
ELEMENTS = 1 << 26


def time_s(*overrides: str, name: str = "h100_leaf_spine", collective: str = "all_to_all", algorithm: str = "direct"):
    topology = load_topology(name, [*SMALL, *overrides] if name == "h100_leaf_spine" else list(overrides))
    entry = prepare(Call(collective, first_ranks(topology, None), ELEMENTS), algorithm)
    outcome = measure(topology, entry)
    assert entry.time_s is not None, outcome.ended
    return entry.time_s


def by_hand(bytes_per_s: float) -> float:
    """Eight GPUs of a leaf each send half of their data over the uplinks of the leaf."""
    return 8 * (ELEMENTS * 4 / 2) / bytes_per_s


@pytest.fixture(scope="module")
def whole() -> float:
    return time_s("fabric.oversubscription=1")


def test_uplinks_that_carry_all_hosts_bound_nothing_beyond_the_nics(whole):
    assert whole == pytest.approx(by_hand(8 * 50e9), rel=0.01)


@pytest.mark.parametrize("ratio", [2, 4])
def test_oversubscription_costs_its_ratio(whole, ratio):
    assert time_s(f"fabric.oversubscription={ratio}") == pytest.approx(ratio * whole, rel=0.01)


def test_a_failed_spine_costs_its_share(whole):
    lost = [f"link.leaf{leaf}-spine0.failed=true" for leaf in (0, 1)]
    assert time_s("fabric.oversubscription=1", *lost) == pytest.approx(whole * 4 / 3, rel=0.01)


def test_a_degraded_direction_of_one_uplink_costs_all_who_are_spread_over_it(whole):
    slow = time_s("fabric.oversubscription=1", "link.leaf0-spine0.capacity=0.5")
    assert slow == pytest.approx(2 * whole, rel=0.01)


def test_the_slowest_member_of_a_group_sets_the_pace_of_a_ring():
    """Its port takes the 71 chunks of the others one after the other, and is never idle between them."""
    slow = time_s("gpu7.nvlink.write=300 GB/s", name="gb200_nvl72", collective="all_gather", algorithm="ring")
    assert slow == pytest.approx(71 * (ELEMENTS * 4 / 72) / 300e9, rel=0.005)
    assert slow > 2 * time_s(name="gb200_nvl72", collective="all_gather", algorithm="ring")
