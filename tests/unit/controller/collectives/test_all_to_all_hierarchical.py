"""Blocks that change the carrier: right over any hosts, and one message between each two ranks of one place."""

import pytest
from plan_values import earliest, latest, wrong_elements

from controller.collectives.all_to_all_direct import direct
from controller.collectives.all_to_all_hierarchical import hierarchical
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import Group
from controller.collectives.measure.calls import plan_of
from controller.plan.ops import Transfer


def over(hosts: str) -> Group:
    """``aabb``: the host of each rank."""
    return Group(tuple(f"gpu{rank}" for rank in range(len(hosts))), ("hbm",) * len(hosts), tuple(hosts))


@pytest.mark.parametrize("hosts", ["a", "ab", "aabb", "abab", "aaabbb", "abcabc", "aabbccdd", "aaaa", "aabccb"])
@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_element_is_right(hosts, count):
    call = Call("all_to_all", over(hosts), count)
    for pick in (earliest, latest):
        assert wrong_elements(call, plan_of(call, hierarchical), pick) == [0] * len(hosts)


def between(call: Call, plan) -> list[tuple[str, str, int]]:
    """(sender, receiver, elements) of every message from host to host."""
    host = dict(zip(call.group.devices, call.group.hosts, strict=True))
    found = []
    for op in plan.ops:
        if isinstance(op, Transfer):
            ends = op.sources[0].buffer.device, op.destinations[0].buffer.device
            if host[ends[0]] != host[ends[1]]:
                found.append((*ends, op.sources[0].shape[0]))
    return found


def test_messages_between_hosts_are_fewer_and_larger():
    call = Call("all_to_all", over("aaaabbbb"), 8 * 16)
    ours, theirs = between(call, plan_of(call, hierarchical)), between(call, plan_of(call, direct))
    assert len(ours) == 8 and len(theirs) == 32
    assert sum(size for *_, size in ours) == sum(size for *_, size in theirs)
    assert all(int(sender[3:]) % 4 == int(receiver[3:]) % 4 for sender, receiver, _ in ours)


def test_uneven_hosts_are_refused():
    with pytest.raises(BadCall, match="use direct"):
        plan_of(Call("all_to_all", over("aab"), 8), hierarchical)
