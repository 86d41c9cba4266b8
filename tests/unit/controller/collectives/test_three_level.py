"""Three levels: right over any hosts, the bytes and hops of each level as they should be."""

import pytest
from plan_values import earliest, latest, wrong_elements

from controller.collectives.all_reduce_hierarchical import hierarchical, three_level
from controller.collectives.call import Call
from controller.collectives.errors import BadCall
from controller.collectives.group import Group, first_ranks
from controller.collectives.measure.calls import MeasuredCall, measure, plan_of, prepare
from controller.collectives.protocol import PLAIN, as_seen
from controller.plan.ops import Transfer
from controller.topology.loader import load_topology
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec


def over(hosts: str) -> Group:
    """``aabb``: the host of each rank."""
    return Group(tuple(f"gpu{rank}" for rank in range(len(hosts))), ("hbm",) * len(hosts), tuple(hosts))


@pytest.mark.parametrize("hosts", ["ab", "aabb", "abab", "aaabbb", "aaaabbbb", "abcd", "aaaa", "a" * 8 + "b" * 8])
@pytest.mark.parametrize("count", [1, 7, 64])
def test_every_element_is_right(hosts, count):
    for in_place in (False, True):
        for pieces in (1, 2):
            call = Call("all_reduce", over(hosts), count, in_place=in_place, pieces=pieces)
            for pick in (earliest, latest):
                assert wrong_elements(call, plan_of(call, three_level), pick) == [0] * len(hosts)


def test_uneven_hosts_are_refused():
    with pytest.raises(BadCall, match="hosts here have 1, 2"):
        plan_of(Call("all_reduce", over("aab"), 8), three_level)


def sent_by_level(plan) -> dict[str, int]:
    """Elements that each rank of two hosts of eight sends within its pair, its host and to the other host."""
    found = {"pair": 0, "host": 0, "between": 0}
    for op in plan.ops:
        if isinstance(op, Transfer):
            source, target = (int(views[0].buffer.device[3:]) for views in (op.sources, op.destinations))
            if source != target:
                level = "pair" if source // 2 == target // 2 else "host" if source // 8 == target // 8 else "between"
                found[level] += op.sources[0].shape[0]
    return {level: total // 16 for level, total in found.items()}


def test_most_bytes_stay_in_the_pair():
    count = 16 * 64
    call = Call("all_reduce", over("a" * 8 + "b" * 8), count)
    # Half within the pair, three quarters of that half among pairs, half of an eighth between hosts; all twice.
    assert sent_by_level(plan_of(call, three_level)) == {
        "pair": 2 * count // 2, "host": 2 * (count // 2 * 3 // 4), "between": 2 * (count // 8 // 2),
    }  # fmt: skip
    assert sent_by_level(plan_of(call, hierarchical))["between"] == 2 * (count // 8 // 2)


def frontier_like(latency: float = 0.0) -> Topology:
    """Two hosts of four pairs: 200 GB/s in a pair, 50 GB/s from a pair into its host, 25 GB/s out of a pair."""
    spec = DeviceSpec(
        "toy", "gpu", "", {"hbm": TierSpec("hbm", "dram", 1 << 36, 1e15, 1e15)},
        {"vector": ComputeSpec("vector", {"fp32": 1e18})},
        {"port": PortSpec("port", 1e12, 1e12)}, {"stream": QueueSpec("stream", "compute", 1, 0.0)},
    )  # fmt: skip
    devices, links = {}, []
    for rank in range(16):
        devices[f"gpu{rank}"] = Device(f"gpu{rank}", "gpu", rank, "ab"[rank // 8], spec)
        links.append(
            Link(f"in{rank}", Endpoint(f"gpu{rank}", "port"), Endpoint(f"pair{rank // 2}"), 2e11, 2e11, latency)
        )
    for pair in range(8):
        ends = Endpoint(f"pair{pair}"), Endpoint(f"host{pair // 4}")
        links.append(Link(f"mid{pair}", *ends, 5e10, 5e10, latency))
    links += [Link(f"out{host}", Endpoint(f"host{host}"), Endpoint("net"), 1e11, 1e11, latency) for host in range(2)]
    switches = (*(f"pair{pair}" for pair in range(8)), "host0", "host1", "net")
    return Topology("frontier_like", "test", devices, switches, tuple(links), digest="0" * 64)


def time_on(topology: Topology, algorithm, count: int) -> float:
    hosts = tuple(device.host for device in topology.devices.values())
    group = Group(tuple(topology.devices), ("hbm",) * 16, hosts)
    call = Call("all_reduce", group, count, in_place=True)
    entry = MeasuredCall(call, algorithm.__name__, "plain", plan_of(call, algorithm))
    assert measure(topology, entry).ok
    return entry.time_s


def test_each_level_takes_its_share_of_the_bytes():
    """Half of S in a pair at 200 GB/s, 3/8 of it from each of two ranks at 50, half of it between hosts at 100; twice.

    A ring through a host crosses each pair's link once, with 7/8 of S: here as long as the two inner levels together.
    """
    count = 1 << 24
    size = 4 * count
    expected = 2 * (size / 2 / 2e11 + 2 * size * 3 / 8 / 5e10 + size / 2 / 1e11)
    assert time_on(frontier_like(), three_level, count) == pytest.approx(expected, rel=1e-4)


def test_small_messages_pay_fewer_hops():
    """1 + 3 + 1 steps each way over 2, 4 and 6 links of 1 us, against 7 and 1; data counts for nothing."""
    topology = frontier_like(1e-6)
    assert time_on(topology, three_level, 16) == pytest.approx(2 * (1 * 2 + 3 * 4 + 1 * 6) * 1e-6, rel=0.01)
    assert time_on(topology, hierarchical, 16) == pytest.approx(2 * (7 * 4 + 1 * 6) * 1e-6, rel=0.3)
    assert time_on(topology, three_level, 16) < time_on(topology, hierarchical, 16)


def test_on_frontier_it_is_ahead_where_hops_count():
    topology = load_topology("frontier")
    group = first_ranks(topology, 16)
    seen = as_seen(topology, group, PLAIN)
    times = []
    for name in ("three_level", "hierarchical", "ring"):
        entry = prepare(Call("all_reduce", group, 1 << 16, in_place=True), name)
        assert measure(seen, entry).ok
        times.append(entry.time_s)
    assert times == sorted(times) and times[0] < times[2] / 2
