"""Zones of SimGrid platforms: stars of hosts, backbones, pipes that limit flows alone, and what is only noted."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology

HEAD = "<?xml version='1.0'?>\n<platform version='4.1'>\n"
STAR = """<zone id="z" routing="Cluster">
  <router id="r"/>
  <host id="h1" speed="1Gf"/><host id="h2" speed="1Gf"/><host id="h3" speed="1Gf"/>
  <link id="l1_UP" bandwidth="125MBps" latency="100us"/><link id="l1_DOWN" bandwidth="250MBps" latency="100us"/>
  <link id="l2" bandwidth="125MBps" latency="100us" sharing_policy="SPLITDUPLEX"/>
  <link id="l3" bandwidth="125MBps" latency="100us"/>
  <host_link id="h1" up="l1_UP" down="l1_DOWN"/>
  <host_link id="h2" up="l2_UP" down="l2_DOWN"/>
  <host_link id="h3" up="l3" down="l3"/>
  <cabinet id="c" prefix="n" suffix=".lab" radical="1-2" speed="1Gf" bw="10MBps" lat="50us"/>
  <backbone id="b" bandwidth="2.25GBps" latency="500us"/>
</zone>
"""


def imported(tmp_path, text: str):
    (tmp_path / "p.xml").write_text(f"{HEAD}{text}</platform>\n")
    made = import_topology("simgrid", tmp_path / "p.xml", "p", Given({"host": "xeon_5320"}))
    (tmp_path / "p.yaml").write_text(made)
    return load_topology(tmp_path / "p.yaml"), made


def complaint(tmp_path, text: str) -> str:
    with pytest.raises(BadTopology) as caught:
        imported(tmp_path, text)
    return str(caught.value)


def test_hosts_of_a_star_have_a_link_up_and_one_down(tmp_path):
    star, _ = imported(tmp_path, STAR)
    assert list(star.devices) == ["h1", "h2", "h3", "n1_lab", "n2_lab"]
    found = route(star, "h1", "h2")
    assert found.latency_s == pytest.approx(700e-6)  # 100 + 500 + 100
    first, second = (hop.link for hop in found.hops)
    assert (first.forward_bytes_per_s, first.backward_bytes_per_s, first.shared) == (125e6, 250e6, False)
    assert (second.forward_bytes_per_s, second.shared) == (125e6, False)
    assert route(star, "h1", "h3").hops[1].link.shared
    assert route(star, "n1_lab", "n2_lab").latency_s == pytest.approx(600e-6)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('<host_link id="h3" up="l3" down="l3"/>', "", "p.xml:5: the host 'h3' has no <host_link>"),
        ('up="l3" down="l3"', 'up="l9" down="l3"', "p.xml:11: no link 'l9' is declared"),
        ('"250MBps" latency="100us"', '"250MBps" latency="1us"', "p.xml:9: the way up takes 0.0001 s"),
    ],
)
def test_a_star_that_no_cables_make_is_an_error(tmp_path, before, after, said):
    assert before in STAR
    assert said in complaint(tmp_path, STAR.replace(before, after))


WIDE = """<zone id="w" routing="Full">
  <cluster id="x" prefix="x" suffix="" radical="0-1" speed="1Gf" bw="125MBps" lat="50us" bb_bw="2GBps" bb_lat="500us"/>
  <cluster id="y" prefix="y" suffix="" radical="0-1" speed="1Gf" bw="125MBps" lat="50us"/>
  <cluster id="z" prefix="z" suffix="" radical="0-1" speed="1Gf" bw="125MBps" lat="50us"/>
  <link id="wan" bandwidth="1.25GBps" latency="7ms" sharing_policy="FATPIPE"/>
  <zoneRoute src="x" dst="y" gw_src="xx_router" gw_dst="yy_router"><link_ctn id="wan"/></zoneRoute>
  <zoneRoute src="x" dst="z" gw_src="xx_router" gw_dst="zz_router"><link_ctn id="wan"/></zoneRoute>
  <zoneRoute src="y" dst="z" gw_src="yy_router" gw_dst="zz_router"><link_ctn id="wan"/></zoneRoute>
</zone>
"""


def test_a_backbone_is_paid_once_inside_and_once_on_the_way_out(tmp_path):
    world, _ = imported(tmp_path, WIDE)
    assert route(world, "x0", "x1").latency_s == pytest.approx(600e-6)
    assert route(world, "x0", "y1").latency_s == pytest.approx(50e-6 + 500e-6 + 7e-3 + 50e-6)


def test_a_pipe_that_no_flow_feels_lies_wherever_it_is_used(tmp_path):
    world, _ = imported(tmp_path, WIDE)
    pipes = [link for link in world.links if link.latency_s == 7e-3]
    assert len(pipes) == 3 and {pipe.forward_bytes_per_s for pipe in pipes} == {1.25e9}
    assert "for each flow" in pipes[0].constants["forward"].source
    assert all(pipe.per_flow for pipe in pipes)


def test_what_changes_in_time_and_what_others_simulate_is_noted(tmp_path):
    said = """<config id="c"><prop id="network/latency-factor" value="13"/></config>
<zone id="w" routing="Full">
  <host id="a" speed="1Gf"/><host id="b" speed="1Gf"/>
  <link id="l" bandwidth="8Ebps" latency="1d" sharing_policy="SPLITDUPLEX"/>
  <route src="a" dst="b"><link_ctn id="l"/></route>
  <trace id="t" periodicity="1">0 1</trace><trace_connect kind="BANDWIDTH" trace="t" element="l"/>
</zone>
<actor host="a" function="f"/>
"""
    platform, made = imported(tmp_path, said)
    assert platform.links[0].forward_bytes_per_s == 1e18 and platform.links[0].latency_s == 86400
    for note in ("<config> (network/latency-factor)", "BANDWIDTH of 'l', by which it changes in time", "<actor>"):
        assert note in made


def test_a_complaint_names_the_platform_and_no_file_of_ours(tmp_path):
    found = complaint(tmp_path, '<zone id="w" routing="Full"><host id="a" speed="1f"/><host id="b" speed="1f"/></zone>')
    assert "'a' has no link" in found and "imported.yaml" not in found and len(found.splitlines()) == 1
