"""A call begins as its kind does: rings spread over channels, and sends that a host submits."""

from dataclasses import replace

import pytest

from controller.collectives.begins import ONE_CHANNEL_BYTES, beginning, submitted_s, with_host
from controller.collectives.bulk.timing import Ground, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import first_ranks
from controller.collectives.measure.calls import measure, prepare
from controller.collectives.protocol import PLAIN, as_seen, protocol_of, protocols_of
from controller.topology.loader import load_topology

DGX = load_topology("dgx_h100")
LL = protocol_of(DGX, "ll")


def time_s(collective, nbytes, ranks=8, name="ring"):
    group = first_ranks(DGX, ranks)
    call = Call(collective, group, nbytes // 4)
    entry = prepare(call, name, LL)
    seen = as_seen(DGX, group, LL)
    assert measure(seen, entry).ok
    assert time_in_bulk(Ground(seen, group), call, name, LL).time_s == pytest.approx(entry.time_s, rel=1e-9)
    return entry.time_s


@pytest.mark.parametrize(("collective", "hops"), [("all_gather", 7), ("all_reduce", 14)])
def test_what_is_spread_over_channels_fills_the_ring_once(collective, hops):
    """Up to 16 KiB only latency and bytes count; beyond it the seven hops of the first pass take 0.75 us at least."""
    sent = (2 if collective == "all_reduce" else 1) * 7 / 8 / 141e9
    own = (1 << 15) / 8 / 282e9
    assert time_s(collective, ONE_CHANNEL_BYTES) == pytest.approx(
        4.8e-6 + hops * 0.78e-6 + sent * ONE_CHANNEL_BYTES, rel=5e-3
    )
    assert time_s(collective, 1 << 15) == pytest.approx(4.8e-6 + hops * 0.78e-6 + 7 * 0.75e-6 + own, rel=5e-3)


def test_bytes_that_take_longer_than_the_filling_hide_it():
    call = Call("all_gather", first_ranks(DGX, 8), 1 << 20)
    assert beginning(call, LL) == LL
    # 7 x 0.75 us at 141 GB/s are 846 KB a rank: below that the rest of it is paid.
    smaller = Call("all_gather", first_ranks(DGX, 8), 1 << 17)
    sent_s = (1 << 19) * 7 / 8 / 141e9
    assert beginning(smaller, LL).base_s == pytest.approx(4.8e-6 + 7 * 0.75e-6 - sent_s)


def test_a_protocol_without_a_filling_begins_as_declared():
    call = Call("all_gather", first_ranks(DGX, 8), 1 << 17)
    for name in ("ll128", "simple", "nvls"):
        assert beginning(call, protocol_of(DGX, name)) == protocol_of(DGX, name)
    assert beginning(call, PLAIN) == PLAIN


@pytest.mark.parametrize(("ranks", "us"), [(8, 16 * 0.75), (4, 6.6 + 0.6), (2, 6.6 + 0.6)])
def test_sends_of_many_ranks_wait_for_the_host_that_submits_them(ranks, us):
    """Two a rank, 0.75 us each; few of them are submitted before the device is done."""
    assert time_s("all_to_all", 512, ranks, "direct") == pytest.approx(us * 1e-6, rel=0.04)


def test_only_sends_are_submitted_one_by_one():
    group = first_ranks(DGX, 8)
    assert submitted_s(Call("all_reduce", group, 8), LL) == 0.0
    assert submitted_s(Call("all_to_all", first_ranks(DGX, 1), 8), LL) == 0.0
    entry = prepare(Call("all_to_all", group, 8), "direct", replace(LL, issue_s=0.0))
    assert with_host(entry.plan, entry.call, replace(LL, issue_s=0.0)) is entry.plan


def test_a_quantity_that_no_protocol_has_is_refused_with_those_there_are():
    with pytest.raises(BadCall, match=r"\.fill, \.sends, \.issue"):
        protocols_of(replace(DGX, options={"collective.ll.filling": "1 us"}))
    with pytest.raises(BadCall, match=r"option collective\.ll\.fill"):
        protocols_of(replace(DGX, options={"collective.ll.fill": "1 GB/s"}))
