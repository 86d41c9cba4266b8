"""Every kind of fabric: how many of everything, who is linked to whom, and how far it is."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology, NoRoute
from controller.topology.generate.table import KINDS
from controller.topology.graph import route, routes_of

HOST = """
  host:
    switches: [box]
    devices:
      gpu: {product: toy_gpu, count: 2}
    links: [{ends: [gpu.nvlink, box], bandwidth: 50 GB/s, latency: 100 ns}]
    uplinks: [gpu.pcie]
  link: {bandwidth: 10 GB/s, latency: 1 us}
"""

BLOCKS = {
    "star": """
  hosts: 3
  networks:
    core: {ends: [gpu.pcie], switches: 2, bandwidth: 10 GB/s, latency: 1 us}""",
    "mesh": "\n  hosts: 4",
    "leaf_spine": "\n  leaves: 3\n  hosts_per_leaf: 2\n  spines: 4",
    "rail": "\n  pods: 2\n  hosts_per_pod: 3\n  spines: 2",
    "fat_tree": "\n  pods: 2\n  edges_per_pod: 2\n  aggregations_per_pod: 2\n  cores: 4\n  hosts_per_edge: 1",
    "dragonfly": """
  groups: 5
  routers_per_group: 2
  hosts_per_router: 1
  global_links_per_router: 2
  local_link: {bandwidth: 10 GB/s, latency: 1 us}
  global_link: {bandwidth: 10 GB/s, latency: 5 us}""",
    "torus": "\n  dimensions: [3, 4]\n  host_link: {bandwidth: 20 GB/s, latency: 0 s}",
}


def text_of(kind: str) -> str:
    host = HOST
    if kind == "star":
        host = host.split("    uplinks")[0]
    if kind == "mesh":
        host = host.replace("uplinks: [gpu.pcie]", "uplinks: [box]")
    return f"name: toy\nfabric:\n  kind: {kind}{BLOCKS[kind]}{host}"


def linked(topology) -> set[frozenset[str]]:
    return {frozenset((link.a.vertex, link.b.vertex)) for link in topology.links}


def hops(topology, a: str, b: str) -> int:
    return len(route(topology, a, b).hops)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_joins_all_devices_and_names_its_numbers(load, kind):
    topology = load(text_of(kind))
    devices = list(topology.devices)
    assert devices == [f"gpu{index}" for index in range(len(devices))]
    assert [device.index for device in topology.devices.values()] == list(range(len(devices)))
    assert {device.host for device in topology.devices.values()} == {f"host{i}" for i in range(len(devices) // 2)}
    for b in devices[1:]:
        assert hops(topology, "gpu0", b) > 0
    for link in topology.links:
        assert set(link.constants) == {"forward", "backward", "latency"}
        assert "toy.yaml:" in link.constants["latency"].source


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_digest_and_another_number_another(load, kind):
    text = text_of(kind)
    assert load(text).digest == load(text).digest != load(text.replace("10 GB/s", "11 GB/s")).digest


def test_a_star_has_as_many_equal_routes_as_switches(load):
    star = load(text_of("star"))
    assert star.switches == ("box_h0", "box_h1", "box_h2", "core0", "core1")
    assert len(star.links) == 6 + 6 * 2
    assert len(routes_of(star).paths("gpu0", "gpu5")) == 2
    assert [hop.link.name for hop in route(star, "gpu0", "gpu1").hops] == ["gpu0.nvlink-box_h0", "gpu1.nvlink-box_h0"]


def test_a_mesh_links_every_pair_of_hosts(load):
    mesh = load(text_of("mesh"))
    pairs = {frozenset((f"box_h{a}", f"box_h{b}")) for a in range(4) for b in range(a)}
    assert pairs <= linked(mesh) and len(mesh.links) == 8 + 6


def test_a_mesh_of_ports_needs_no_switch(load):
    text = text_of("mesh").replace("count: 2", "count: 1").replace("uplinks: [box]", "uplinks: [gpu.pcie]")
    assert hops(load(text), "gpu0", "gpu3") == 1


def test_leaf_spine_goes_up_only_between_leaves_and_has_a_route_a_spine(load):
    fabric = load(text_of("leaf_spine"))
    assert hops(fabric, "gpu0", "gpu3") == 2  # hosts 0 and 1 share leaf0
    assert hops(fabric, "gpu0", "gpu4") == 4
    assert len(routes_of(fabric).paths("gpu0", "gpu4")) == 4
    assert {frozenset((f"leaf{a}", f"spine{b}")) for a in range(3) for b in range(4)} <= linked(fabric)


@pytest.mark.parametrize(("ratio", "expected"), [(1, 10e9), (2, 5e9), (0.5, 20e9)])
def test_oversubscription_is_what_hosts_send_over_what_uplinks_carry(load, ratio, expected):
    fabric = load(text_of("leaf_spine"), f"fabric.oversubscription={ratio}")
    up = [link for link in fabric.links if link.name.startswith("leaf")]
    below = [link for link in fabric.links if link.name.endswith("-leaf0")]
    assert up[0].forward_bytes_per_s == up[0].backward_bytes_per_s == expected
    assert sum(link.forward_bytes_per_s for link in below) == ratio * 4 * expected
    assert f"{ratio:g}:1 oversubscribed" in up[0].constants["forward"].source


def test_a_rail_joins_the_same_uplink_of_every_host_of_a_pod(load):
    fabric = load(text_of("rail"))
    assert {"rail0_p0", "rail1_p0", "rail0_p1", "rail1_p1"} <= set(fabric.switches)
    assert hops(fabric, "gpu0", "gpu4") == 2  # both are the first of their host
    assert hops(fabric, "gpu0", "gpu3") == 4  # another rail
    assert hops(fabric, "gpu0", "gpu6") == 4  # another pod


def test_rails_without_spines_meet_inside_of_hosts_only(load):
    fabric = load(text_of("rail"), "fabric.spines=0", "fabric.pods=1")
    assert hops(fabric, "gpu0", "gpu2") == 2
    with pytest.raises(NoRoute):
        route(fabric, "gpu0", "gpu3")
    with pytest.raises(BadTopology, match="nothing joins 2 pods without spines"):
        load(text_of("rail"), "fabric.spines=0")


def test_a_fat_tree_has_three_levels(load):
    tree = load(text_of("fat_tree"))
    assert [hops(tree, "gpu0", f"gpu{i}") for i in (2, 4)] == [4, 6]
    assert len(routes_of(tree).paths("gpu0", "gpu4")) == 4  # one a core
    assert len(routes_of(tree).paths("gpu0", "gpu2")) == 2  # one an aggregation switch
    with pytest.raises(BadTopology, match=r"toy\.yaml:7: fabric: 3 cores cannot be shared out evenly among 2"):
        load(text_of("fat_tree").replace("cores: 4", "cores: 3"))


def test_a_dragonfly_has_one_global_link_for_every_pair_of_groups(load):
    fabric = load(text_of("dragonfly"))
    groups = [
        frozenset(end.vertex.rpartition("_g")[2] for end in (link.a, link.b))
        for link in fabric.links
        if "router" in link.a.vertex and "router" in link.b.vertex
    ]
    between = [pair for pair in groups if len(pair) == 2]
    assert len(between) == len(set(between)) == 10
    per_router: dict[str, int] = {}
    for link in fabric.links:
        if link.latency_s == 5e-6:
            for end in (link.a, link.b):
                per_router[end.vertex] = per_router.get(end.vertex, 0) + 1
    assert set(per_router.values()) == {2} and len(per_router) == 10
    with pytest.raises(BadTopology, match="cannot be shared out evenly among 4 other groups"):
        load(text_of("dragonfly"), "fabric.global_links_per_router=1")


def test_a_torus_closes_every_dimension_and_has_no_double_links(load):
    torus = load(text_of("torus"))
    rings = [link for link in torus.links if link.a.vertex.startswith("router")]
    assert len(rings) == 2 * 12
    # (0, 0) and (2, 3) are one step apart in each dimension, the wrong way round.
    assert hops(torus, "gpu0", f"gpu{2 * 11}") == 4
    flat = load(text_of("torus").replace("[3, 4]", "[2, 2, 2]"))
    assert len([link for link in flat.links if link.a.vertex.startswith("router")]) == 12


def test_a_switch_of_the_host_can_be_its_router(load):
    text = text_of("torus").replace("  host_link: {bandwidth: 20 GB/s, latency: 0 s}\n", "")
    chip = load(text.replace("  host_link: {bandwidth: 20 GB/s, latency: 0 s}", "").replace("[gpu.pcie]", "[box]"))
    assert not any(name.startswith("router") for name in chip.switches)
    with pytest.raises(BadTopology, match="a torus needs host_link"):
        load(text.replace("  host_link: {bandwidth: 20 GB/s, latency: 0 s}", ""))
