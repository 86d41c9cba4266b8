"""Protocols change what a call, a hop and a byte cost, and nothing else; choosing takes the fastest."""

from dataclasses import replace

import pytest

from controller.collectives.bulk.timing import Ground, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.choose.algorithm import choose
from controller.collectives.choose.nccl import choose_nccl
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.protocol import (
    PLAIN,
    Protocol,
    as_seen,
    protocol_of,
    protocols_of,
    suits,
    with_start,
)
from controller.collectives.table import algorithms
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Origin
from controller.topology.loader import load_topology

DGX = load_topology("dgx_h100")
GROUP = first_ranks(DGX, 8)


def time_s(protocol, count, name="ring", **options):
    entry = prepare(Call("all_reduce", GROUP, count, **options), name, protocol)
    assert measure(as_seen(DGX, GROUP, protocol), entry).ok
    return entry.time_s


@pytest.mark.parametrize(
    ("name", "latency_us"), [("ll", 4.8 + 14 * 0.78), ("ll128", 14 + 14 * 1.9), ("simple", 8.4 + 14 * 3.4)]
)
def test_a_small_ring_pays_the_start_and_fourteen_hops(name, latency_us):
    assert time_s(protocol_of(DGX, name), 8) == pytest.approx(latency_us * 1e-6, rel=1e-3)


@pytest.mark.parametrize("name", ["ll", "ll128", "simple"])
def test_a_large_ring_reaches_the_rate(name):
    protocol = protocol_of(DGX, name)
    size = 1 << 30
    assert 1.75 * size / time_s(protocol, size // 4, pieces=8) == pytest.approx(protocol.rate_bytes_per_s, rel=0.02)


def test_plain_pays_launches_and_links_as_declared():
    stream, issue = (DGX.devices["gpu0"].spec.queues[name].launch_s for name in ("stream", "issue"))
    hop = 0.6e-6
    # The host launches the first reduction after 6 us, the others while the device is at work: it is the bottleneck.
    assert time_s(PLAIN, 8) == pytest.approx(7 * issue + stream + 7 * hop, rel=1e-2)
    assert as_seen(DGX, GROUP, PLAIN).devices["gpu0"] is DGX.devices["gpu0"]


def test_a_protocol_cannot_be_faster_than_wire_or_port():
    fast = Protocol("fast", 0.0, 0.0, 1e15)
    seen = as_seen(DGX, GROUP, fast).devices["gpu0"].spec.ports["nvlink"]
    was = DGX.devices["gpu0"].spec.ports["nvlink"]
    assert (seen.read_bytes_per_s, seen.latency_s) == (was.read_bytes_per_s, was.latency_s)


@pytest.mark.parametrize("size", [64, 1 << 20, 1 << 28])
def test_the_choice_is_the_fastest_of_all(size):
    call = Call("all_reduce", GROUP, size // 4)
    choice = choose(DGX, call, algorithms("all_reduce"), protocols_of(DGX))
    for name in algorithms("all_reduce"):
        for protocol in protocols_of(DGX):
            for pieces in (1, 8) if size > 1 << 20 and suits(protocol, name, protocols_of(DGX)) else (1,):
                if not suits(protocol, name, protocols_of(DGX)):
                    continue
                assert choice.best.time_s <= time_s(protocol, size // 4, name, pieces=pieces)
    assert choice.others[0].algorithm in choice.reason


def test_what_does_not_fit_is_left_out():
    """A star's master has no room for eight times 16 GiB; the ring has."""
    call = Call("all_reduce", GROUP, 4 << 30)
    choice = choose(DGX, call, ("star", "ring"), (PLAIN,), pieces=1)
    assert choice.best.algorithm == "ring" and not choice.others


def test_a_group_of_one_pays_the_start_alone():
    alone = first_ranks(DGX, 1)
    choice = choose(DGX, Call("all_reduce", alone, 8), ("ring",), protocols_of(DGX))
    assert choice.best.time_s == pytest.approx(4.8e-6, rel=1e-3)
    in_place = choose(DGX, Call("all_reduce", alone, 8, in_place=True), ("ring",), (PLAIN,))
    assert in_place.best.time_s == 0


def test_a_start_keeps_the_trust_in_the_edges_and_adds_none():
    build = PlanBuilder("copy")
    source, made = (Buffer(GROUP.devices[0], "hbm", name, "fp32", (4,)) for name in ("source", "made"))
    build.transfer(source, made)
    plan, protocol = build.plan(), Protocol("slow", 1e-5)
    assert with_start(plan, GROUP, protocol).origin is Origin.BUILDER
    assert with_start(replace(plan), GROUP, protocol).origin is Origin.ANYBODY


@pytest.mark.parametrize(("collective", "passes"), [("all_gather", 1), ("reduce_scatter", 1), ("all_reduce", 2)])
def test_the_channels_copy_a_ranks_own_share_too(collective, passes):
    """Its chunk, at twice the rate of a message, beside the 7 or 14 steps of the ring; sums take 0.5 us each."""
    protocol, size = protocol_of(DGX, "simple"), 1 << 30
    chunk_s = size / 8 / 370.8e9
    entry = prepare(Call(collective, GROUP, size // 4), "ring", protocol)
    measure(as_seen(DGX, GROUP, protocol), entry)
    steps_s = passes * 7 * (3.4e-6 + chunk_s)
    assert entry.time_s == pytest.approx(8.4e-6 + steps_s + chunk_s / 2, rel=2e-3)


def test_a_block_for_oneself_goes_before_the_others_and_the_last_chunks_are_copied_out():
    protocol, size = protocol_of(DGX, "simple"), 1 << 30
    entry = prepare(Call("all_to_all", GROUP, size // 4), "direct", protocol)
    measure(as_seen(DGX, GROUP, protocol), entry)
    block_s = size / 8 / 370.8e9
    assert entry.time_s == pytest.approx(
        (8.4 + 3.4) * 1e-6 + 7 * block_s + block_s / 2 + (16 << 20) / 741.6e9, rel=1e-4
    )
    found = time_in_bulk(Ground(as_seen(DGX, GROUP, protocol), GROUP), entry.call, "direct", protocol)
    assert found.time_s == pytest.approx(entry.time_s, rel=1e-9)


@pytest.mark.parametrize(("count", "protocol"), [(8 * 4096, "ll"), (8 * 4096 + 8, "simple")])
def test_nccl_sends_small_blocks_by_ll(count, protocol):
    """16 KiB to each rank, and one element more."""
    best = choose_nccl(DGX, Call("all_to_all", GROUP, count)).best
    assert (best.algorithm, best.protocol) == ("direct", protocol)
