"""The switches of every host and a tree between them: right over any hosts, and refused where a switch cannot."""

import pytest
from plan_values import earliest, latest, wrong_elements

from controller.collectives.all_reduce_nvls_tree import nvls_tree
from controller.collectives.call import Call
from controller.collectives.choose.nccl import choose_nccl, estimates, library_of
from controller.collectives.errors import BadCall
from controller.collectives.group import Group, InSwitch, first_ranks, group_of
from controller.collectives.measure.calls import plan_of
from controller.plan.ops import Transfer
from controller.topology.loader import load_topology

TWO = load_topology("two_dgx_h100")
ABLE = InSwitch(("fp32",), True)


def over(hosts: str, able: InSwitch | None = ABLE) -> Group:
    """``aabb``: the host of each rank."""
    size = len(hosts)
    return Group(tuple(f"gpu{rank}" for rank in range(size)), ("hbm",) * size, tuple(hosts), None, able)


@pytest.mark.parametrize("hosts", ["ab", "aabb", "abab", "aaabbb", "abcabc", "abcd", "aaaa", "aabbccddee"])
@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_element_is_right(hosts, count):
    for in_place in (False, True):
        for pieces in (1, 3):
            call = Call("all_reduce", over(hosts), count, in_place=in_place, pieces=pieces)
            for pick in (earliest, latest):
                assert wrong_elements(call, plan_of(call, nvls_tree), pick) == [0] * len(hosts)


def test_hosts_must_be_alike_and_their_switches_able():
    with pytest.raises(BadCall, match="hosts here have 1, 2"):
        plan_of(Call("all_reduce", over("aab"), 8), nvls_tree)
    with pytest.raises(BadCall, match="needs a switch in every host"):
        plan_of(Call("all_reduce", over("aabb", None), 8), nvls_tree)


def test_a_group_knows_the_switches_of_its_hosts():
    both = first_ranks(TWO, 16)
    assert both.in_switch is None and "fp16" in both.in_hosts.types
    assert group_of(TWO, ["gpu_a0", "gpu_a1"]).in_switch == both.in_hosts


def test_each_rank_sends_its_chunk_alone_between_hosts():
    call = Call("all_reduce", first_ranks(TWO, 16), 16 * 64)
    sent: dict[str, int] = {}
    for op in plan_of(call, nvls_tree).ops:
        if isinstance(op, Transfer) and len(op.sources) == len(op.destinations) == 1:
            source, destination = op.sources[0].buffer.device, op.destinations[0].buffer.device
            if TWO.devices[source].host != TWO.devices[destination].host:
                sent[source] = sent.get(source, 0) + op.sources[0].shape[0]
    assert sent == dict.fromkeys(call.group.devices, 16 * 64 // 8)


def test_nccl_takes_it_between_hosts_and_needs_to_know_the_network():
    group = first_ranks(TWO, 16)
    call = Call("all_reduce", group, 1 << 24, "fp16")
    assert choose_nccl(TWO, call).best.algorithm == "nvls_tree"
    found = next(each for each in estimates(library_of(TWO), call) if each.algorithm == "nvls_tree")
    assert found.time_s == pytest.approx(25e-6 + 2 * 14e-6 + (2 << 24) / (370.8e9 * 0.85 * 5 / 6), rel=1e-9)
    options = {key: text for key, text in TWO.options.items() if key != "nccl.net_rate"}
    blind = type(TWO)(TWO.name, "", TWO.devices, TWO.switches, TWO.links, options=options, abilities=TWO.abilities)
    with pytest.raises(BadCall, match=r"lacks the option nccl\.net_rate"):
        choose_nccl(blind, call)
