"""SimGrid platforms become topologies where their routes are those of cables."""

from __future__ import annotations

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
    # Shared by both directions, so each has half.
    assert right.forward_bytes_per_s == 125e6 and "both directions together" in right.constants["forward"].source


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


def test_long_routes_that_nothing_explains_are_an_error(tmp_path):
    text = DOGBONE.replace('<route src="a" dst="r"><link_ctn id="1"/></route>', "")
    text = text.replace('<route src="r" dst="s"><link_ctn id="2"/></route>', "")
    assert "p.xml:9: nothing says where the cables 1, 2, 3 of this route meet" in complaint(tmp_path, text)


def test_a_flat_cluster_is_a_star(tmp_path):
    flat = imported(tmp_path, cluster("radical='0-3,7'"))
    assert list(flat.devices) == ["n-0", "n-1", "n-2", "n-3", "n-7"] and flat.switches == ("c_router",)
    assert {link.forward_bytes_per_s for link in flat.links} == {1.25e9}


def test_a_torus_cluster_has_the_links_of_a_torus(tmp_path):
    torus = imported(tmp_path, cluster("radical='0-11' topology='TORUS' topo_parameters='3,2,2'"))
    between = [link for link in torus.links if link.name.count("router") == 2]
    assert len(between) == 12 + 6 + 6 and "c_router" not in torus.switches
    assert len(route(torus, "n-0", "n-2").hops) == 3  # the ring of three closes


def test_a_fat_tree_cluster_has_its_parallel_links_as_wide_ones(tmp_path):
    tree = imported(tmp_path, cluster("radical='0-15' topology='FAT_TREE' topo_parameters='2;4,4;1,2;1,2'"))
    up = [link for link in tree.links if "spine" in link.name]
    assert len(up) == 8 and {link.forward_bytes_per_s for link in up} == {2.5e9}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GRAPH.replace("1Gbps", "1Gf"), 8, "'1Gf' is no bandwidth"),
        (GRAPH.replace("50us", "50 parsec"), 8, "is not a latency"),
        (GRAPH.replace('link_ctn id="left"', 'link_ctn id="lost"'), 10, "no link 'lost' is declared"),
        (GRAPH.replace('dst="bob"', 'dst="eve"'), 11, "no host or router 'eve'"),
        (
            GRAPH.replace('"right"/></route>', '"left"/></route>'),
            11,
            "the link 'left' joins alice_example.pcie and middle",
        ),
        (GRAPH.replace("SPLITDUPLEX", "FATPIPE"), 8, "a FATPIPE limits every flow alone"),
        (GRAPH.replace('<router id="middle"/>', '<storage id="s"/>'), 7, "<storage> is not read"),
        (cluster("radical='0-3' topology='DRAGONFLY' topo_parameters='1,1;1,1;1,1;4'"), 4, "DRAGONFLY is not read"),
        (cluster("radical='0-3' topology='TORUS' topo_parameters='3,3'"), 4, "a torus of 3,3 has not 4 hosts"),
        (cluster("radical='a-b'"), 4, "is no list of ranges"),
        (cluster("radical='0-999999'"), 4, "more than 65536 hosts"),
        (cluster("radical='0-3' bb_bw='1GBps' bb_lat='1us'"), 4, "a backbone of 1GBps"),
    ],
)
def test_what_is_no_cable_is_an_error_with_its_line(tmp_path, text, line, said):
    found = complaint(tmp_path, text)
    assert f"p.xml:{line}:" in found and said in found, found


def test_a_host_needs_a_product(tmp_path):
    assert "'alice.example' is a host of a product that the file does not say" in complaint(tmp_path, GRAPH, Given())
    mixed = Given({"alice.example": "xeon_8480", "bob": "xeon_5320"})
    assert imported(tmp_path, GRAPH, mixed).devices["alice_example"].spec.product == "xeon_8480"
