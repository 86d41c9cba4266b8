"""Two levels: right over any hosts, refused where it cannot run, and worth it where hosts are far apart."""

import pytest
from plan_values import earliest, latest, wrong_elements

from controller.collectives.all_reduce_hierarchical import hierarchical
from controller.collectives.call import Call
from controller.collectives.choose.algorithm import choose
from controller.collectives.errors import BadCall
from controller.collectives.group import Group, first_ranks, group_of
from controller.collectives.measure.calls import measure, plan_of, prepare
from controller.collectives.protocol import PLAIN, as_seen
from controller.plan.ops import Transfer
from controller.topology.loader import load_topology

TWO = load_topology("two_dgx_h100")


def over(hosts: str) -> Group:
    """``aabb``: the host of each rank."""
    return Group(tuple(f"gpu{rank}" for rank in range(len(hosts))), ("hbm",) * len(hosts), tuple(hosts))


@pytest.mark.parametrize("hosts", ["ab", "aabb", "abab", "aaabbb", "abcabc", "abcd", "aaaa", "aabbccdd"])
@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_element_is_right(hosts, count):
    for in_place in (False, True):
        for pieces in (1, 2):
            call = Call("all_reduce", over(hosts), count, in_place=in_place, pieces=pieces)
            for pick in (earliest, latest):
                assert wrong_elements(call, plan_of(call, hierarchical), pick) == [0] * len(hosts)


def test_uneven_hosts_are_refused_and_left_out_by_auto():
    with pytest.raises(BadCall, match="hosts here have 1, 2; use ring instead"):
        plan_of(Call("all_reduce", over("aab"), 8), hierarchical)
    group = group_of(TWO, ["gpu_a0", "gpu_a1", "gpu_b0"])
    assert choose(TWO, Call("all_reduce", group, 64), ("hierarchical", "ring"), (PLAIN,)).best.algorithm == "ring"


def test_each_rank_sends_its_chunk_alone_between_hosts():
    call = Call("all_reduce", first_ranks(TWO, 16), 16 * 64)
    sent: dict[str, int] = {}
    for op in plan_of(call, hierarchical).ops:
        if isinstance(op, Transfer):
            source, destination = op.sources[0].buffer.device, op.destinations[0].buffer.device
            if TWO.devices[source].host != TWO.devices[destination].host:
                sent[source] = sent.get(source, 0) + op.sources[0].shape[0]
    assert sent == dict.fromkeys(call.group.devices, 16 * 64 // 8)


def test_it_beats_one_ring_over_both_hosts():
    group = first_ranks(TWO, 16)
    seen = as_seen(TWO, group, PLAIN)
    times = {}
    for name in ("hierarchical", "ring"):
        entry = prepare(Call("all_reduce", group, 1 << 26, in_place=True), name)
        assert measure(seen, entry).ok
        times[name] = entry.time_s
    assert times["hierarchical"] < times["ring"] / 3
