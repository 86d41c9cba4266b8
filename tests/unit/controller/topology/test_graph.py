"""Routes: fewest hops, then latency, then names; through switches only."""

from __future__ import annotations

import pytest

from controller.errors import NoRoute, UnknownDevice
from controller.topology.graph import route
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import DeviceSpec, PortSpec


def cluster(devices: str, switches: str, *links: tuple[str, str, str, float]) -> Topology:
    """A topology of bare devices; a link is (name, end, end, latency [s])."""
    ports = {name: PortSpec(name, 1e9, 1e9) for name in ("p", "q")}
    spec = DeviceSpec("bare", "gpu", "no tiers", {}, {}, ports, {})
    made = tuple(
        Link(name, Endpoint(*a.split(".")), Endpoint(*b.split(".")), 1e9, 1e9, latency_s)
        for name, a, b, latency_s in links
    )
    names = devices.split()
    return Topology("test", "", {n: Device(n, n, 0, "host", spec) for n in names}, tuple(switches.split()), made)


def names(topology: Topology, a: str, b: str) -> list[str]:
    return [hop.link.name for hop in route(topology, a, b).hops]


def test_a_route_goes_through_the_switch_and_sums_latencies(load):
    found = route(load(), "gpu", "csd1")
    assert [(str(hop.tail), str(hop.head), hop.forward) for hop in found.hops] == [
        ("gpu.pcie", "root", True),
        ("root", "csd1.pcie", False),
    ]
    assert found.latency_s == 1.5e-6


def test_to_itself_there_is_nothing_to_pass(load):
    assert route(load(), "gpu", "gpu").hops == ()
    assert route(load(), "gpu", "gpu").latency_s == 0.0


def test_fewer_hops_win_over_less_latency():
    topology = cluster("a b", "s", ("as", "a.p", "s", 1e-9), ("bs", "b.p", "s", 1e-9), ("ab", "a.q", "b.q", 1.0))
    assert names(topology, "a", "b") == ["ab"]


def test_then_less_latency_wins_over_names():
    topology = cluster("a b", "", ("first", "a.p", "b.p", 2e-6), ("second", "a.q", "b.q", 1e-6))
    assert names(topology, "a", "b") == ["second"]


def test_then_the_first_name_wins_whatever_the_order_of_declaration():
    links = [("y", "a.p", "b.p", 1e-6), ("x", "a.q", "b.q", 1e-6)]
    assert names(cluster("a b", "", *links), "a", "b") == ["x"]
    assert names(cluster("b a", "", *reversed(links)), "a", "b") == ["x"]


def test_the_way_back_takes_the_same_links():
    # From a the tie is broken at s, from b at t; each alone would choose differently.
    links = [
        ("as", "a.p", "s", 1e-6), ("bt", "b.p", "t", 1e-6), ("m", "s", "u", 1e-6), ("z", "u", "t", 1e-6),
        ("n", "s", "v", 1e-6), ("c", "v", "t", 1e-6),
    ]  # fmt: skip
    topology = cluster("a b", "s t u v", *links)
    assert names(topology, "a", "b") == ["as", "m", "z", "bt"]
    assert names(topology, "b", "a") == ["bt", "z", "m", "as"]
    assert route(topology, "a", "b").latency_s == route(topology, "b", "a").latency_s


def test_a_device_is_no_bridge_between_its_ports():
    topology = cluster("a b c", "", ("ab", "a.p", "b.p", 1e-6), ("bc", "b.q", "c.p", 1e-6))
    with pytest.raises(NoRoute, match="no route from a to c in test: no chain of links and switches joins them"):
        route(topology, "a", "c")


def test_a_longer_way_through_switches_beats_a_shorter_one_through_a_device():
    links = [
        ("ab", "a.p", "b.p", 0.0), ("bc", "b.q", "c.p", 0.0), ("as", "a.q", "s", 1.0), ("st", "s", "t", 1.0),
        ("tc", "t", "c.q", 1.0),
    ]  # fmt: skip
    assert names(cluster("a b c", "s t", *links), "a", "c") == ["as", "st", "tc"]


def test_a_device_without_links_is_named():
    with pytest.raises(NoRoute, match="b has no link at all; declare a link"):
        route(cluster("a b", "s", ("as", "a.p", "s", 0.0)), "a", "b")


def test_an_unknown_device_is_named_with_the_nearest(load):
    with pytest.raises(UnknownDevice, match=r"no device 'csd7'; did you mean 'csd"):
        route(load(), "gpu", "csd7")


def test_routes_are_kept_for_each_topology(load, toy_text):
    toy = load()
    assert route(toy, "gpu", "csd0") is route(toy, "gpu", "csd0")
    slower = load(toy_text, "link.gpu.pcie-root.latency=1 ms")
    assert route(slower, "gpu", "csd0").latency_s > route(toy, "gpu", "csd0").latency_s
