"""Who gets which path: the policies alone, and what becomes of their shares in a fabric."""

from __future__ import annotations

import importlib
from fractions import Fraction

import numpy as np
import pytest

from controller.errors import BadTopology
from controller.fabric.loads import Fabric
from controller.fabric.routing.table import ROUTINGS, policy_of
from controller.topology.graph import MAX_PATHS, routes_of
from controller.topology.loader import load_topology
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import DeviceSpec, PortSpec, QueueSpec, TierSpec

HOST = DeviceSpec(
    "toy", "gpu", "", {"hbm": TierSpec("hbm", "dram", 1 << 40, 1e12, 1e12)}, {}, {"nic": PortSpec("nic", 5e10, 5e10)},
    {"stream": QueueSpec("stream", "compute")},
)  # fmt: skip


def clos(hosts: int, spines: int, leaves: int = 2, slow: str = "", **options: str) -> Topology:
    devices, links = {}, []
    for leaf in range(leaves):
        for index in range(hosts):
            name = f"g{leaf}{index}"
            devices[name] = Device(name, "g", len(devices), f"h{leaf}", HOST)
            links.append(Link(f"nic-{name}", Endpoint(name, "nic"), Endpoint(f"leaf{leaf}"), 5e10, 5e10, 1e-6))
        for spine in range(spines):
            link = f"up{leaf}-{spine}"
            latency = 3e-6 if link == slow else 1e-6
            links.append(Link(link, Endpoint(f"leaf{leaf}"), Endpoint(f"spine{spine}"), 1e10, 1e10, latency))
    switches = (*(f"leaf{leaf}" for leaf in range(leaves)), *(f"spine{spine}" for spine in range(spines)))
    return Topology("clos", "test", devices, switches, tuple(links), digest="0" * 64, options=options)


def weights(fabric: Fabric, *ends: str, **options) -> dict[str, float]:
    load = fabric.transfer_load(ends[0], "hbm", ends[1], "hbm", **options)
    names = [fabric.resource_names[index] for index in load.resources]
    return dict(zip(names, load.weights.tolist(), strict=True))


def test_equal_paths_are_all_found_in_the_order_of_names():
    routes = routes_of(clos(1, 4))
    found = routes.paths("g00", "g10")
    assert [path.hops[1].link.name for path in found] == ["up0-0", "up0-1", "up0-2", "up0-3"]
    assert routes.route("g00", "g10") == found[0]
    back = routes.paths("g10", "g00")
    assert [path.hops[1].link.name for path in back] == ["up1-0", "up1-1", "up1-2", "up1-3"]
    assert len(routes.paths("g00", "g00")) == 1 and routes.paths("g00", "g00")[0].hops == ()


def test_a_slower_path_is_no_equal_one():
    found = routes_of(clos(1, 3, slow="up1-1")).paths("g00", "g10")
    assert [path.hops[1].link.name for path in found] == ["up0-0", "up0-2"]


def test_paths_within_a_leaf_and_of_a_host_are_one():
    assert len(routes_of(clos(2, 4)).paths("g00", "g01")) == 1
    dgx = load_topology("dgx_h100")
    assert len(routes_of(dgx).paths("gpu0", "gpu7")) == 1


def test_a_mesh_of_many_paths_is_cut_at_a_limit():
    side = 9  # 12870 shortest ways across
    links = []
    for row in range(side):
        for column in range(side):
            here = Endpoint(f"s{row}.{column}")
            if row + 1 < side:
                links.append(Link(f"d{row}.{column}", here, Endpoint(f"s{row + 1}.{column}"), 1e9, 1e9, 0.0))
            if column + 1 < side:
                links.append(Link(f"r{row}.{column}", here, Endpoint(f"s{row}.{column + 1}"), 1e9, 1e9, 0.0))
    ends = (("a", "s0.0"), ("b", f"s{side - 1}.{side - 1}"))
    links += [Link(f"to-{name}", Endpoint(name, "nic"), Endpoint(at), 1e9, 1e9, 0.0) for name, at in ends]
    devices = {name: Device(name, name, 0, "h", HOST) for name, _ in ends}
    switches = tuple(f"s{row}.{column}" for row in range(side) for column in range(side))
    assert len(routes_of(Topology("mesh", "", devices, switches, tuple(links))).paths("a", "b")) == MAX_PATHS


def test_without_an_option_everything_takes_the_route_of_before():
    fabric = Fabric(clos(2, 4))
    assert fabric.routing == "single" and not fabric.routes_flows
    assert fabric.spread([("g00", "g10", 1, 0)]) == [None]
    assert weights(fabric, "g00", "g10")["up0-0>"] == 1.0


def test_spray_loads_every_path_by_its_part():
    fabric = Fabric(clos(2, 4, routing="spray"))
    (shares,) = fabric.spread([("g00", "g10", 1, 0)])
    found = weights(fabric, "g00", "g10", shares=shares)
    assert {name: found[name] for name in found if name.startswith("up")} == dict.fromkeys(
        (f"up{leaf}-{spine}{way}" for spine in range(4) for leaf, way in ((0, ">"), (1, "<"))), 0.25
    )
    assert found["nic-g00>"] == found["g00.nic.read"] == found["g00.hbm.read"] == found["g10.hbm.write"] == 1.0
    single = fabric.transfer_load("g00", "hbm", "g10", "hbm")
    assert fabric.transfer_load("g00", "hbm", "g10", "hbm", shares=shares).latency_s == single.latency_s


def test_ecmp_is_the_same_every_time_and_another_seed_is_another_hash():
    wanted = [(f"g0{a}", f"g1{b}", 1, 0) for a in range(8) for b in range(8)]
    first, again = (Fabric(clos(8, 4, routing="ecmp")).spread(wanted) for _ in range(2))
    other = Fabric(clos(8, 4, routing="ecmp", **{"routing.seed": "1"})).spread(wanted)
    assert first == again != other
    counts = np.bincount([shares[0][0] for shares in first], minlength=4)
    assert counts.min() > 0 and counts.max() > 16, "a hash is not even"


def test_ecmp_with_several_connections_cuts_a_transfer():
    fabric = Fabric(clos(1, 4, routing="ecmp", **{"routing.connections": "8"}))
    (shares,) = fabric.spread([("g00", "g10", 1, 0)])
    assert sum(part for _, part in shares) == 1 and 1 < len(shares) <= 4
    assert all(part.denominator <= 8 for _, part in shares)


def test_a_failed_link_moves_only_who_took_it():
    wanted = [(f"g0{a}", f"g1{b}", 1, 0) for a in range(8) for b in range(8)]
    fabric = Fabric(clos(8, 4, routing="ecmp"), frozenset({"up0-2"}))
    before = fabric.spread(wanted)
    fabric.down = frozenset({"up0-2"})
    after = fabric.spread(wanted)
    assert all(old == new for old, new in zip(before, after, strict=True) if old[0][0] != 2)
    assert {shares[0][0] for shares in after} == {0, 1, 3}


@pytest.mark.parametrize("name", [name for name in ROUTINGS if name != "single"])
def test_no_policy_gives_a_path_that_is_down_and_all_parts_add_up(name):
    fabric = Fabric(clos(4, 4, 3, routing=name), frozenset({"up0-2", "up1-0"}))
    wanted = [(f"g{a}{i}", f"g{b}{i}", 1, 0) for a in range(3) for b in range(3) if a != b for i in range(4)]
    fabric.down = frozenset({"up0-2", "up1-0"})
    for (source, destination, _, _), shares in zip(wanted, fabric.spread(wanted), strict=True):
        assert sum(part for _, part in shares) == Fraction(1)
        paths = fabric.topology and routes_of(fabric.topology).paths(source, destination)
        used = [hop.link.name for number, _ in shares for hop in paths[number].hops]
        assert not {"up0-2", "up1-0"} & set(used)


def test_nothing_is_given_where_every_path_is_down():
    fabric = Fabric(clos(1, 2, routing="spray"), frozenset({"up0-0", "up0-1"}))
    fabric.down = frozenset({"up0-0", "up0-1"})
    assert fabric.spread([("g00", "g10", 1, 0)]) == [None]


def test_ethereal_fills_uplinks_and_downlinks_of_an_all_to_all_evenly():
    fabric = Fabric(clos(4, 4, 3, routing="ethereal"))
    wanted = [(f"g{a}{i}", f"g{b}{j}", 1, 0) for a in range(3) for i in range(4) for b in range(3) for j in range(4)]
    wanted = [each for each in wanted if each[0][1] != each[1][1]]
    total = np.zeros(len(fabric.capacity))
    for (source, destination, _, _), shares in zip(wanted, fabric.spread(wanted), strict=True):
        load = fabric.transfer_load(source, "hbm", destination, "hbm", shares=shares)
        np.add.at(total, load.resources, load.weights)
    links = {name: total[index] for index, name in enumerate(fabric.resource_names) if name.startswith("up")}
    assert set(links.values()) == {8.0}, "4 hosts x 8 peers over 4 spines, each way"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"routing": "emcp"}, "did you mean 'ecmp'"),
        ({"routing": "ecmp", "routing.seed": "x"}, "whole number"),
        ({"routing": "ecmp", "routing.connections": "0"}, "from 1 to"),
        ({"routing": "spray", "routing.seed": "1"}, "no such option"),
        ({"routing": "ecmp", "routing.sede": "1"}, "no such option"),
    ],
)
def test_options_that_cannot_be_meant(options, said):
    with pytest.raises(BadTopology, match=said):
        policy_of(options)


def test_the_option_may_be_set_on_any_topology():
    assert Fabric(load_topology("two_dgx_h100", ["options.routing=spray"])).routing == "spray"


@pytest.mark.parametrize("name", ROUTINGS)
def test_its_module_says_where_it_comes_from(name):
    text = importlib.import_module(ROUTINGS[name].partition(":")[0]).__doc__
    for heading in ("Paper:", "Follows:", "Differs:", "Checked by:"):
        assert heading in text
