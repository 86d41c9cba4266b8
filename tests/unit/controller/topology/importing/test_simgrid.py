"""SimGrid platforms become topologies where their routes are those of cables."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import BadTopology
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology

HEAD = (
    '<?xml version=\'1.0\'?>\n<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">\n<platform version="4.1">\n'
)
GIVEN = Given({"host": "xeon_5320"})
PLATFORMS = Path(__file__).parents[4] / "fixtures" / "platforms"

GRAPH = (
    HEAD
    + """\
  <zone id="world" routing="Floyd">
    <host id="alice.example" speed="1Gf"/>
    <host id="bob" speed="2Gf" core="4"/>
    <router id="middle"/>
    <link id="left" bandwidth="1Gbps" latency="50us" sharing_policy="SPLITDUPLEX"/>
    <link id="right" bandwidth="250MBps" latency="1ms"/>
    <route src="alice.example" dst="middle"><link_ctn id="left"/></route>
    <route src="middle" dst="bob"><link_ctn id="right"/></route>
  </zone>
</platform>
"""
)


def cluster(attributes: str) -> str:
    return (
        f"{HEAD}  <cluster id='c' prefix='n-' suffix='' speed='1Gf' bw='10Gbps' lat='5us' {attributes}/>\n</platform>\n"
    )


def imported(tmp_path, text: str, given: Given = GIVEN):
    (tmp_path / "p.xml").write_text(text)
    (tmp_path / "p.yaml").write_text(import_topology("simgrid", tmp_path / "p.xml", "p", given))
    return load_topology(tmp_path / "p.yaml")


def complaint(tmp_path, text: str, given: Given = GIVEN) -> str:
    with pytest.raises(BadTopology) as caught:
        imported(tmp_path, text, given)
    return str(caught.value)


def test_hosts_routers_and_links_with_their_units(tmp_path):
    platform = imported(tmp_path, GRAPH)
    assert list(platform.devices) == ["alice_example", "bob"] and platform.switches == ("middle",)
    found = route(platform, "alice_example", "bob")
    assert found.latency_s == pytest.approx(1.05e-3)
    left, right = (hop.link for hop in found.hops)
    assert left.forward_bytes_per_s == left.backward_bytes_per_s == 125e6
    # One capacity for both directions, all of it for a flow alone.
    assert not left.shared and right.shared and right.forward_bytes_per_s == right.backward_bytes_per_s == 250e6
    assert "both directions together" in right.constants["forward"].source


def test_routes_of_two_links_meet_in_a_switch(tmp_path):
    text = (
        HEAD
        + """\
  <zone id="z" routing="Full">
    <host id="a" speed="1Gf"/><host id="b" speed="1Gf"/><host id="c" speed="1Gf"/>
    <link id="la" bandwidth="1GBps" latency="1us" sharing_policy="SPLITDUPLEX"/>
    <link id="lb" bandwidth="1GBps" latency="1us" sharing_policy="SPLITDUPLEX"/>
    <link id="lc" bandwidth="1GBps" latency="1us" sharing_policy="SPLITDUPLEX"/>
    <route src="a" dst="b"><link_ctn id="la"/><link_ctn id="lb"/></route>
    <route src="a" dst="c"><link_ctn id="la"/><link_ctn id="lc"/></route>
    <route src="b" dst="c"><link_ctn id="lb"/><link_ctn id="lc"/></route>
  </zone>
</platform>
"""
    )
    star = imported(tmp_path, text)
    assert star.switches == ("meet_la_lb",) and len(star.links) == 3
    assert len(route(star, "b", "c").hops) == 2


DOGBONE = (
    HEAD
    + """\
  <AS id="z" routing="Full">
    <host id="a" speed="1Gf"/><host id="b" speed="1Gf"/><host id="c" speed="1Gf"/>
    <router id="r"/><router id="s"/>
    <link id="1" bandwidth="1GBps" latency="1us"/><link id="2" bandwidth="1GBps" latency="1us"/>
    <link id="3" bandwidth="1GBps" latency="1us"/><link id="4" bandwidth="1GBps" latency="1us"/>
    <route src="a" dst="c"><link_ctn id="1"/><link_ctn id="2"/><link_ctn id="3"/></route>
    <route src="b" dst="c"><link_ctn id="4"/><link_ctn id="2"/><link_ctn id="3"/></route>
    <route src="a" dst="r"><link_ctn id="1"/></route>
    <route src="r" dst="s"><link_ctn id="2"/></route>
  </AS>
</platform>
"""
)


def test_long_routes_are_laid_along_what_short_ones_say(tmp_path):
    bone = imported(tmp_path, DOGBONE)
    assert {frozenset((link.a.vertex, link.b.vertex)) for link in bone.links} == {
        frozenset(pair) for pair in (("a", "r"), ("b", "r"), ("r", "s"), ("s", "c"))
    }
    assert [hop.head.vertex for hop in route(bone, "b", "c").hops] == ["r", "s", "c"]


def test_long_routes_alone_say_where_their_cables_meet(tmp_path):
    text = DOGBONE.replace('<route src="a" dst="r"><link_ctn id="1"/></route>', "")
    text = text.replace('<route src="r" dst="s"><link_ctn id="2"/></route>', "")
    bone = imported(tmp_path, text)
    assert [hop.head.vertex for hop in route(bone, "b", "c").hops] == ["meet_1_2", "meet_2_3", "c"]


def test_routes_that_no_cables_take_are_links_of_their_own(tmp_path):
    other = '<route src="a" dst="b"><link_ctn id="1"/><link_ctn id="3"/></route>'
    bent = imported(tmp_path, DOGBONE.replace('<route src="a" dst="r">', f'{other}<route src="a" dst="r">'))
    (hop,) = route(bent, "a", "b").hops
    assert [each.resource for each in hop.link.passes] == ["n1>", "n3>"]
    # a and b meet at r, two links away; the route that is listed goes around by s.
    ring = DOGBONE.replace(
        "</AS>",
        '<link id="5" bandwidth="1GBps" latency="1us"/><route src="b" dst="s"><link_ctn id="5"/></route>'
        '<route src="a" dst="b"><link_ctn id="1"/><link_ctn id="2"/><link_ctn id="5"/></route></AS>',
    )
    (hop,) = route(imported(tmp_path, ring), "a", "b").hops
    assert hop.link.latency_s == pytest.approx(3e-6) and len(hop.link.passes) == 3
    # A router has no link of its own, which others would take.
    lost = ring.replace('<route src="a" dst="b">', '<route src="r" dst="b">')
    assert "offer another way than this one" in complaint(tmp_path, lost)


def test_the_way_back_takes_the_same_cables(tmp_path):
    there = GRAPH.replace('src="alice.example" dst="middle"', 'src="alice.example" dst="middle" symmetrical="NO"')
    back = '<route src="middle" dst="alice.example" symmetrical="NO"><link_ctn id="right"/></route>'
    found = complaint(tmp_path, there.replace('<route src="middle" dst="bob"><link_ctn id="right"/></route>', back))
    assert "p.xml:11: the way back" in found and "line 10" in found and "SPLITDUPLEX" in found


def test_hosts_forward_what_passes_them(tmp_path):
    chain = GRAPH.replace('<router id="middle"/>', '<host id="middle" speed="1Gf"/>')
    found = route(imported(tmp_path, chain), "alice_example", "bob")
    assert [hop.head.vertex for hop in found.hops] == ["middle_router", "bob"]
    assert found.latency_s == pytest.approx(1.05e-3)


def test_a_link_that_is_shared_gives_a_flow_alone_all_of_it():
    text = import_topology("simgrid", PLATFORMS / "shared_one_way.xml", "p", Given({"host": "h100_sxm"}))
    assert '"100 MB/s"' in text and "shared: true" in text


def test_the_loopback_of_a_host_is_left_out_with_a_note(tmp_path):
    text = import_topology("simgrid", PLATFORMS / "loopback_fatpipe.xml", "p", GIVEN)
    assert "# Not taken over: the route of a host to itself" in text
    (tmp_path / "p.yaml").write_text(text)
    assert len(load_topology(tmp_path / "p.yaml").links) == 1


def test_wifi_is_refused_with_its_line():
    with pytest.raises(BadTopology, match=r"wifi\.xml:4: routing='Wifi' is not read"):
        import_topology("simgrid", PLATFORMS / "wifi.xml", "p", GIVEN)


def test_the_router_of_a_cluster_has_prefix_and_suffix(tmp_path):
    both = imported(tmp_path, (PLATFORMS / "two_clusters.xml").read_text())
    assert len(both.devices) == 4 and len(both.links) == 5
    assert route(both, "e-0_lab", "w-1_lab").latency_s == pytest.approx(1.1e-3)


def test_what_changes_in_time_is_noted(tmp_path):
    changing = GRAPH.replace('id="bob"', 'id="bob" speed_file="bob.trace"').replace(
        'latency="1ms"/>', 'latency="1ms" bandwidth_file="right.trace"><prop id="wattage_range" value="10:20"/></link>'
    )
    (tmp_path / "p.xml").write_text(changing)
    text = import_topology("simgrid", tmp_path / "p.xml", "p", GIVEN)
    assert "speed_file of hosts, by which they change in time (line 6)" in text
    assert "bandwidth_file of links" in text and "<prop> of links" in text


def test_names_that_yaml_reads_otherwise_are_changed(tmp_path):
    odd = GRAPH.replace('"bob"', '"null"').replace('"alice.example"', '"links"')
    assert list(imported(tmp_path, odd).devices) == ["links_", "null_"]


@pytest.mark.parametrize(
    ("hosts", "attributes", "between", "hops"),
    [
        (65_536, "", ("node0", "node65535"), 2),
        (2_048, "topology='TORUS' topo_parameters='32,8,8'", ("node0", "node1"), 3),
        (2_048, "topology='FAT_TREE' topo_parameters='2;64,32;1,2;1,1'", ("node0", "node64"), 4),
    ],
)
def test_large_clusters_become_a_generated_fabric(tmp_path, hosts, attributes, between, hops):
    platform = imported(tmp_path, cluster(f"radical='0-{hosts - 1}' {attributes}"))
    assert len(platform.devices) == hosts
    assert len(route(platform, *between).hops) == hops
    assert (tmp_path / "p.yaml").stat().st_size < 2_000


def test_a_flat_cluster_is_a_star(tmp_path):
    flat = imported(tmp_path, cluster("radical='0-3,7'"))
    assert list(flat.devices) == ["n-0", "n-1", "n-2", "n-3", "n-7"] and flat.switches == ("n-c_router",)
    assert {link.forward_bytes_per_s for link in flat.links} == {1.25e9}


def test_a_torus_cluster_has_the_links_of_a_torus(tmp_path):
    torus = imported(tmp_path, cluster("radical='0-11' topology='TORUS' topo_parameters='3,2,2'"))
    between = [link for link in torus.links if link.name.count("router") == 2]
    assert len(between) == 12 + 6 + 6 and "n-c_router" not in torus.switches
    assert len(route(torus, "n-0", "n-2").hops) == 3  # the ring of three closes


def test_a_fat_tree_cluster_has_its_parallel_links_as_wide_ones(tmp_path):
    tree = imported(tmp_path, cluster("radical='0-15' topology='FAT_TREE' topo_parameters='2;4,4;1,2;1,2'"))
    up = [link for link in tree.links if "spine" in link.name]
    assert len(up) == 8 and {link.forward_bytes_per_s for link in up} == {2.5e9}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GRAPH.replace("1Gbps", "1Gf"), 8, "'1Gf' is not a bandwidth"),
        (GRAPH.replace("50us", "50 parsec"), 8, "is not a latency"),
        (GRAPH.replace('link_ctn id="left"', 'link_ctn id="lost"'), 10, "no link 'lost' is declared"),
        (GRAPH.replace('dst="bob"', 'dst="eve"'), 11, "no host or router 'eve'"),
        (GRAPH.replace("SPLITDUPLEX", "WRONG"), 8, "has the sharing policy WRONG"),
        (GRAPH.replace('<router id="middle"/>', '<peer id="s"/>'), 7, "<peer> is not read"),
        (GRAPH.replace('version="4.1"', 'version="2"'), 3, "version='2', where bandwidths had other units"),
        (GRAPH.replace(' version="4.1"', ""), 3, "no version, where bandwidths had other units"),
        (GRAPH.replace("Floyd", "Vivaldi"), 5, "'alice.example' has no <host_link>"),
        (GRAPH.replace("Floyd", "None"), 4, "routing='None' is that of hosts without routes"),
        (cluster("radical='0-3' topology='DRAGONFLY' topo_parameters='1,1;1,1;1,1;3'"), 4, "has not 4 hosts"),
        (cluster("radical='0-3' topology='DRAGONFLY' topo_parameters='1,1;1,1;1;4'"), 4, "is no dragonfly"),
        (cluster("radical='0-3' topology='DRAGONFLY' topo_parameters='4,1;1,1;1,1;1'"), 4, "a chassis needs as many"),
        (cluster("radical='0-3' topology='HYPERCUBE'"), 4, "HYPERCUBE is not read"),
        (cluster("radical='0-3' topology='TORUS' topo_parameters='3,3'"), 4, "a torus of 3,3 has not 4 hosts"),
        (cluster("radical='a-b'"), 4, "is not a list of ranges"),
        (cluster("radical='0-999999'"), 4, "more than 65536 hosts"),
    ],
)
def test_what_is_no_cable_is_an_error_with_its_line(tmp_path, text, line, said):
    found = complaint(tmp_path, text)
    assert f"p.xml:{line}:" in found and said in found, found


def test_a_host_needs_a_product(tmp_path):
    assert "'alice.example' is a host of a product that the file does not say" in complaint(tmp_path, GRAPH, Given())
    mixed = Given({"alice.example": "xeon_8480", "bob": "xeon_5320"})
    assert imported(tmp_path, GRAPH, mixed).devices["alice_example"].spec.product == "xeon_8480"


def test_halves_of_a_duplex_link_are_the_link(tmp_path):
    halves = GRAPH.replace('link_ctn id="left"', 'link_ctn id="left_UP"')
    assert len(imported(tmp_path, halves).links) == 2


def test_a_wide_backbone_adds_its_latency_alone(tmp_path):
    flat = imported(tmp_path, cluster("radical='0-3' bb_bw='100GBps' bb_lat='4us'"))
    assert route(flat, "n-0", "n-1").latency_s == pytest.approx(14e-6)
    assert not any(link.passes for link in flat.links)
    alone = cluster("radical='0-3' bb_bw='2GBps' bb_lat='4us' bb_sharing_policy='FATPIPE'")
    assert len(imported(tmp_path, alone).links) == 5
