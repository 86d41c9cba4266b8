"""What many routes of a SimGrid platform share: times of runs, by SimGrid's model without correction factors (CM02)."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.topology.graph import route
from controller.topology.importing.sketch import Given
from controller.topology.importing.table import import_topology
from controller.topology.loader import load_topology

PLATFORMS = Path(__file__).parents[4] / "fixtures" / "platforms"
HEAD = "<?xml version='1.0'?>\n<platform version='4.1'>\n"
N = 100_000_000


def imported(tmp_path, text: str):
    (tmp_path / "p.xml").write_text(text if text.startswith("<?xml") else f"{HEAD}{text}</platform>\n")
    (tmp_path / "p.yaml").write_text(import_topology("simgrid", tmp_path / "p.xml", "p", Given({"host": "h100_sxm"})))
    return load_topology(tmp_path / "p.yaml")


def seconds(topology, *pairs: tuple[str, str]) -> float:
    def go(run):
        build = PlanBuilder("flows")
        for number, (source, target) in enumerate(pairs):
            ends = [Buffer(each, "hbm", f"{each}{number}", "int8", (N,)) for each in (source, target)]
            for index, end in enumerate(ends):
                run.place(end, written=index == 0)
            build.transfer(*ends)
        yield run.submit(build.plan())

    return run_virtual(topology, [go]).time_s


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [((("a", "b"),), 1000.0), ((("b", "c"),), 1000.0), ((("a", "b"), ("c", "b")), 2000.0),
     ((("a", "b"), ("b", "a"), ("a", "c")), 3000.0)],
)  # fmt: skip
def test_a_bus_is_one_capacity_for_all(tmp_path, pairs, expected):
    bus = imported(tmp_path, (PLATFORMS / "bus.xml").read_text())
    assert seconds(bus, *pairs) == pytest.approx(expected, rel=1e-6)


BETWEEN = """<zone id="z" routing="Full">
  <host id="a" speed="1Gf"/><host id="b" speed="1Gf"/><host id="c" speed="1Gf"/>
  <link id="la" bandwidth="100MBps" latency="1ms"/><link id="lb" bandwidth="100MBps" latency="1ms"/>
  <link id="lc" bandwidth="100MBps" latency="1ms"/><link id="bus" bandwidth="50MBps" latency="1ms"/>
  <link id="fat" bandwidth="20MBps" latency="3ms" sharing_policy="FATPIPE"/>
  <route src="a" dst="b"><link_ctn id="la"/><link_ctn id="bus"/><link_ctn id="lb"/></route>
  <route src="a" dst="c"><link_ctn id="la"/><link_ctn id="bus"/><link_ctn id="lc"/></route>
  <route src="b" dst="c"><link_ctn id="lb"/><link_ctn id="bus"/><link_ctn id="lc"/></route>
</zone>
"""


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [((("a", "b"),), 2.003), ((("b", "c"),), 2.003), ((("a", "b"), ("b", "c")), 4.003)],
)
def test_a_link_in_the_middle_of_all_routes_is_shared(tmp_path, pairs, expected):
    assert seconds(imported(tmp_path, BETWEEN), *pairs) == pytest.approx(expected, rel=1e-4)


def test_a_bypass_goes_its_own_way_over_what_others_share(tmp_path):
    way = '<link_ctn id="la"/><link_ctn id="fat"/><link_ctn id="lc"/>'
    bypassed = imported(
        tmp_path, BETWEEN.replace("</zone>", f'<bypassRoute src="a" dst="c">{way}</bypassRoute></zone>')
    )
    assert seconds(bypassed, ("a", "c")) == pytest.approx(5.005, rel=1e-4)
    assert seconds(bypassed, ("a", "c"), ("a", "c")) == pytest.approx(5.005, rel=1e-4)
    # 20 of the 100 MB/s of la are taken by the flow to c; bus gives 50 to b as before.
    assert seconds(bypassed, ("a", "b")) == pytest.approx(2.003, rel=1e-4)
    assert seconds(bypassed, ("b", "c")) == pytest.approx(2.003, rel=1e-4)


def test_a_bypass_between_zones_takes_the_place_of_their_route(tmp_path):
    clusters = (PLATFORMS / "two_clusters.xml").read_text()
    ends = 'src="east" dst="west" gw_src="e-east_router.lab" gw_dst="w-west_router.lab"'
    own = f"<bypassZoneRoute {ends}><link_ctn id='slow'/></bypassZoneRoute></zone>"
    slow = '<link id="slow" bandwidth="10MBps" latency="5ms"/>'
    both = imported(tmp_path, clusters.replace("</zone>", slow + own))
    assert seconds(both, ("e-0_lab", "w-1_lab")) == pytest.approx(10.0051, rel=1e-4)


@pytest.mark.parametrize(
    ("policy", "expected"),
    # Alone each is bound by its host, 125 MB/s; three together by the backbone, 225 MB/s, unless it is a pipe.
    [("SHARED", (0.8006, 3 * 100 / 225 + 0.0006)), ("FATPIPE", (0.8006, 0.8006))],
)
def test_a_backbone_holds_up_what_stays_in_the_cluster(tmp_path, policy, expected):
    of = f'bb_bw="225MBps" bb_lat="500us" bb_sharing_policy="{policy}"'
    text = f'<cluster id="c" prefix="n" suffix="" radical="0-9" speed="1Gf" bw="125MBps" lat="50us" {of}/>\n'
    flat = imported(tmp_path, text)
    assert seconds(flat, ("n0", "n1")) == pytest.approx(expected[0], rel=1e-4)
    assert seconds(flat, ("n0", "n1"), ("n2", "n3"), ("n4", "n5")) == pytest.approx(expected[1], rel=1e-4)


def test_hosts_of_a_vivaldi_zone_are_as_far_as_their_coordinates(tmp_path):
    peers = "".join(
        f'<peer id="{name}" speed="1Gf" bw_in="10MBps" bw_out="20MBps" coordinates="{at}"/>'
        for name, at in (("p", "0 0 1"), ("q", "30 40 2"), ("r", "0 4 0"))
    )
    zone = imported(tmp_path, f'<zone id="v" routing="Vivaldi">{peers}</zone>')
    assert route(zone, "p", "q").latency_s == pytest.approx(53e-3)
    assert route(zone, "r", "p").latency_s == pytest.approx(5e-3)
    assert seconds(zone, ("p", "q")) == pytest.approx(10.053, rel=1e-4)
    # Both go down the 10 MB/s of q.
    assert seconds(zone, ("p", "q"), ("r", "q")) == pytest.approx(20.053, rel=1e-2)


def test_a_dragonfly_goes_by_the_one_cable_between_two_groups(tmp_path):
    said = 'topology="DRAGONFLY" topo_parameters="3,4;4,3;5,1;2"'
    text = f'<cluster id="c" {said} prefix="n" suffix="" radical="0-119" speed="1Gf" bw="125MBps" lat="50us"/>\n'
    fly = imported(tmp_path, text)
    assert len(fly.links) == 120 + 3 * (4 * 10 + 5 * 6) + 3
    # From blade 0 to 2 of chassis 0, to group 2, there from blade 0 to 4, and up to chassis 3.
    hops = route(fly, "n0", "n119").hops
    assert [hop.head.vertex for hop in hops] == [
        "c_router0", "c_router2", "c_router40", "c_router44", "c_router59", "n119",
    ]  # fmt: skip
    assert [hop.link.forward_bytes_per_s / 125e6 for hop in hops] == [1, 1, 4, 1, 3, 1]
    # Within a group green comes first, there and back.
    assert [hop.head.vertex for hop in route(fly, "n0", "n12").hops][:2] == ["c_router0", "c_router1"]
    assert [hop.head.vertex for hop in route(fly, "n12", "n0").hops][:2] == ["c_router6", "c_router5"]


def test_a_torus_takes_its_first_dimension_first(tmp_path):
    said = 'topology="TORUS" topo_parameters="4,4"'
    text = f'<cluster id="c" {said} prefix="n" suffix="" radical="0-15" speed="1Gf" bw="125MBps" lat="50us"/>\n'
    torus = imported(tmp_path, text)
    assert [hop.head.vertex for hop in route(torus, "n0", "n5").hops] == ["n0_router", "n1_router", "n5_router", "n5"]
    assert [hop.head.vertex for hop in route(torus, "n5", "n0").hops] == ["n5_router", "n4_router", "n0_router", "n0"]
