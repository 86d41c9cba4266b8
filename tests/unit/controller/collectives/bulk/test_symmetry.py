"""Classes are found, and are checked without trusting the colours that they come from."""

import numpy as np
import pytest

from controller.collectives.bulk import symmetry
from controller.collectives.bulk.phases import WALKS, split
from controller.collectives.bulk.timing import Ground
from controller.collectives.call import Call
from controller.plan.ranges import even_ranges


@pytest.fixture
def ring(box, group):
    ground = Ground(box(6), group(6))
    phases = WALKS["all_reduce", "ring"](Call("all_reduce", group(6), 600))
    ranks = np.arange(6, dtype=np.int32)
    return ground.places, phases, [ground.places.transfers(ranks, walk.following) for walk in phases.walks]


def test_all_ranks_around_one_switch_are_one_class(ring):
    places = ring[0]
    classes = symmetry.fold(*ring)
    assert classes.count == 1 and classes.of_rank.tolist() == [0] * 6
    assert np.array_equal(places.fabric.capacity, places.fabric.capacity[classes.of_resource])


def test_the_folded_transfer_takes_what_all_take_of_one_resource(ring):
    places, phases, loads = ring
    one = symmetry.folded_loads(phases.walks[0], loads[0], symmetry.fold(*ring), places)
    # Each of the tiers, ports and links of a rank is passed by one transfer in a step; both ways of a link are alike.
    assert one.weight.tolist() == [1.0] * 5 and loads[0].start[1] == 6
    assert len(set(one.resource.tolist())) == len(one.resource)


def test_colours_that_collide_are_found_out(ring, monkeypatch):
    """With every colour equal, ranks of unequal chunks would be one class."""
    places, phases, loads = ring
    phases.walks[0].owned[0, 2] += 1
    monkeypatch.setattr(symmetry, "_mixed", lambda values: np.zeros_like(values))
    assert symmetry.fold(places, phases, loads).count == 6


def test_too_many_rounds_fold_nothing(ring, monkeypatch):
    monkeypatch.setattr(symmetry, "ROUNDS", 1)
    assert symmetry.fold(*ring).count == 6


@pytest.mark.parametrize(("count", "parts"), [(0, 1), (1, 3), (7, 3), (12, 4), (100, 7)])
def test_split_is_the_rule_of_plans(count, parts):
    sizes = split(np.array([count]), parts)[:, 0]
    assert sizes.tolist() == [stop - start for start, stop in even_ranges(count, parts)]
