"""Times in bulk against closed forms, and what cannot be timed in bulk."""

from dataclasses import replace

import numpy as np
import pytest

from controller.collectives.bulk.timing import Ground, in_bulk, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.protocol import PLAIN
from controller.faults.schedule import parse_fault

A, B, LAUNCH, READ = 2e-6, 1 / 10e9, 3e-6, 1 / 1000e9


def bulk_of(box, group, collective, name, size, count, **options):
    ground = Ground(box(size), group(size))
    folded = options.pop("folded", True)
    return time_in_bulk(ground, Call(collective, group(size), count, **options), name, PLAIN, folded=folded)


def test_a_ring_of_a_thousand_ranks_takes_its_alpha_beta_time_in_one_class(box, group):
    n, count = 1024, 1024 * 64
    chunk = 4 * count / n
    found = bulk_of(box, group, "all_reduce", "ring", n, count)
    add = LAUNCH + 2 * chunk * READ
    assert found.time_s == pytest.approx((n - 1) * (A + chunk * B + add) + (n - 1) * (A + chunk * B), rel=1e-9)
    assert (found.classes, found.transfers) == (1, 2 * n * (n - 1))
    assert found.rows < 4 * n


def test_all_to_all_of_a_thousand_ranks_is_bound_by_their_links(box, group):
    n, block = 1024, 4096
    found = bulk_of(box, group, "all_to_all", "direct", n, n * block // 4)
    assert found.time_s == pytest.approx(A + (n - 1) * block * B, rel=1e-9)
    assert found.transfers == n * n and found.rows == 2


def test_missing_chunks_do_not_keep_equal_ones_from_being_one_class(box, group):
    few = bulk_of(box, group, "all_reduce", "ring", 64, 5)
    assert few.classes == 1 and few.transfers == 2 * 63 * 5
    assert few.time_s == pytest.approx(bulk_of(box, group, "all_reduce", "ring", 64, 5, folded=False).time_s, rel=1e-9)


def test_sizes_that_do_not_divide_evenly_are_simulated_rank_by_rank(box, group):
    found = bulk_of(box, group, "all_reduce", "ring", 12, 12 * 9 + 1)
    assert found.classes == 12
    assert found.rows == 11 * 12 * 3


def test_a_slow_link_splits_the_classes(box, group):
    topology = box(8)
    links = list(topology.links)
    links[3] = replace(links[3], forward_bytes_per_s=links[3].forward_bytes_per_s / 2)
    found = time_in_bulk(
        Ground(replace(topology, links=tuple(links)), group(8)), Call("all_reduce", group(8), 800), "ring", PLAIN
    )
    assert found.classes == 8
    assert found.time_s > bulk_of(box, group, "all_reduce", "ring", 8, 800).time_s


def test_a_slow_link_is_a_kind_of_its_own_in_all_to_all(box, group):
    """The slow rank sends its three blocks at half the rate; the others are done before."""
    topology, block = box(4), 4000
    links = list(topology.links)
    links[2] = replace(links[2], forward_bytes_per_s=links[2].forward_bytes_per_s / 2)
    ground = Ground(replace(topology, links=tuple(links)), group(4))
    found = time_in_bulk(ground, Call("all_to_all", group(4), block), "direct", PLAIN)
    assert found.time_s == pytest.approx(A + 3 * block * 2 * B, rel=1e-9)


def test_a_streamed_ring_takes_as_long_and_starts_again_when_it_runs_dry(box, group):
    ground, call = Ground(box(12), group(12)), Call("all_reduce", group(12), 12 * 9 + 5)
    whole = time_in_bulk(ground, call, "ring", PLAIN)
    streamed = time_in_bulk(ground, call, "ring", PLAIN, stream_above=1)
    assert streamed.rows > whole.rows
    assert streamed.time_s == pytest.approx(whole.time_s, rel=1e-9)


def test_one_rank_copies_and_in_place_does_nothing(box, group):
    assert bulk_of(box, group, "all_reduce", "ring", 1, 1000).time_s == pytest.approx(4000 * READ, rel=1e-9)
    assert bulk_of(box, group, "all_reduce", "ring", 1, 1000, in_place=True).time_s == 0.0


def test_time_does_not_depend_on_the_names_of_devices(box, group):
    """Names order as gpu0, gpu1, gpu10, ...; ranks do not."""
    ground = Ground(box(24), group(24))
    every = ground.places.transfers(np.arange(24, dtype=np.int32), np.arange(1, 25, dtype=np.int32) % 24)
    names, tiers = ground.places.group.devices, ground.places.group.tiers
    for rank in range(24):
        after = (rank + 1) % 24
        load = ground.fabric.transfer_load(names[rank], tiers[rank], names[after], tiers[after])
        part = slice(every.start[rank], every.start[rank + 1])
        assert every.resource[part].tolist() == load.resources.tolist()
        assert every.weight[part].tolist() == load.weights.tolist()
        assert every.latency_s[rank] == load.latency_s


def test_which_algorithms_have_a_bulk_form(box, group):
    assert in_bulk("all_reduce", ("ring", "tree", "hierarchical")) == ("ring", "hierarchical")
    assert in_bulk("broadcast", ("chain",)) == ()
    with pytest.raises(BadCall, match="all_reduce tree has no bulk form"):
        bulk_of(box, group, "all_reduce", "tree", 4, 100)


def test_what_does_not_fit_is_refused(box, group):
    with pytest.raises(BadCall, match=r"needs .* B of gpu0\.hbm, which has 68,719,476,736 B"):
        bulk_of(box, group, "all_reduce", "ring", 4, 1 << 33)


def test_too_many_rows_are_refused_with_their_number(box, group, monkeypatch):
    monkeypatch.setattr("controller.collectives.bulk.timing.MAX_ROWS", 100)
    hosts = replace(group(12), hosts=tuple("aabbccddeeff"))
    with pytest.raises(BadCall, match=r"its ranks fall into 12 classes; at most 100"):
        time_in_bulk(Ground(box(12), hosts), Call("all_reduce", hosts, 13), "hierarchical", PLAIN)


def test_a_fabric_with_several_routes_or_faults_is_refused(box, group):
    cases = (
        (replace(box(4), options={"routing": "ethereal"}), "routes by 'ethereal'"),
        (replace(box(4), faults=(parse_fault("gpu0-switch@1 ms"),)), "no faults"),
    )
    for refused, words in cases:
        with pytest.raises(BadCall, match=words):
            Ground(refused, group(4))
