"""Entries of campaigns come from the published rates: their causes, bursts and lemons."""

from collections import Counter

import pytest

from controller.diagnosis.drawn_entries import entries_of_rates
from controller.diagnosis.errors import BadCampaign
from controller.topology.loader import load_topology
from tests.support.small_jobs import campaign

RANKS = 256


def drawn(name: str, count: int, seed: int = 7):
    topology = load_topology("h100_leaf_spine", (), ())
    devices = tuple(f"gpu{number}" for number in range(RANKS))
    return topology, entries_of_rates(count, seed, topology, devices, name)


def test_kinds_are_as_frequent_as_their_causes() -> None:
    _, entries = drawn("meta_llama3", 4000)
    counts = Counter(entry.faults[0].kind for entry in entries)
    shares = {"hang": 63, "dead_link": 42, "corrupt": 6, "slow": 6}
    for kind, of_419 in shares.items():
        expected = 4000 * of_419 / 419
        assert abs(counts[kind] - expected) < 4 * expected**0.5
    hosts = sum(len(entry.faults) == 8 for entry in entries)  # what strikes a host strikes its eight ranks
    assert abs(hosts - 4000 * 48 / 419) < 4 * (4000 * 48 / 419) ** 0.5
    assert drawn("meta_llama3", 40) == drawn("meta_llama3", 40) != drawn("meta_llama3", 40, seed=8)


def test_lemons_fail_more_often_and_bursts_strike_several_hosts() -> None:
    topology, entries = drawn("stepfun", 3000)
    hosts = [{topology.devices[fault.target].host for fault in entry.faults} for entry in entries]
    counts = Counter(host for each in hosts if len(each) == 1 for host in each)
    often = [count for _, count in counts.most_common(5)]  # 15 % of 32 hosts are lemons
    usual = sorted(counts.values())[: len(counts) - 5]
    assert min(often) > 2 * max(usual) * 0.8
    assert any(len(each) > 3 for each in hosts)


def test_congestion_is_a_share_of_a_link_that_leaves_the_host() -> None:
    topology, entries = drawn("greyhound", 300)
    hosts = {device.name: device.host for device in topology.devices.values()}
    links = {link.name: link for link in topology.links}
    slow = [fault for entry in entries for fault in entry.faults if fault.kind == "bandwidth"]
    assert slow and all(1.0 / 0.8 <= fault.severity <= 1.0 / 0.3 for fault in slow)
    for fault in slow:
        ends = {hosts.get(end.vertex) for end in (links[fault.target].a, links[fault.target].b)}
        assert None in ends and len(ends) == 2


def test_a_host_that_dies_is_named_rank_by_rank() -> None:
    job = campaign("ring")
    entry = next(
        each
        for each in entries_of_rates(200, 7, job.spec.topology, job.workload.devices, "rsc1")
        if len(each.faults) == 8
    )
    score = job.score(job.run_entry(entry))["default"]
    assert score is not None and score.right == 8 and score.victims == 0


def test_unknown_rates_are_refused() -> None:
    with pytest.raises(BadCampaign, match=r"no rates 'c4_juni'.*c4_june"):
        drawn("c4_juni", 1)
