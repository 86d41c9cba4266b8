"""Links that pass others take their capacity too, and one that limits each flow alone is shared by none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.collectives.bulk.timing import Ground, time_in_bulk
from controller.collectives.call import Call
from controller.collectives.group import Group
from controller.collectives.protocol import PLAIN
from controller.errors import BadTopology
from controller.execute.virtual import run_virtual
from controller.faults.schedule import parse_fault
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.topology.loader import load_topology

N = 100_000_000
BUS = """\
name: bus
hosts:
  h: {devices: {a: {product: h100_sxm}, b: {product: h100_sxm}, c: {product: h100_sxm}, d: {product: h100_sxm}}}
links:
  - {ends: [a.pcie, b.pcie], name: bus, bandwidth: 100 MB/s, latency: 1 ms, shared: true}
  - {ends: [a.pcie, c.pcie], name: ac, latency: 2 ms, passes: [bus]}
  - {ends: [c.pcie, d.pcie], name: cd, latency: 3 ms, passes: [bus]}
"""


def seconds(tmp_path, text: str, *pairs: str, overrides: tuple[str, ...] = ()) -> float:
    """For how long transfers of `N` bytes take, from and to the devices that each pair names."""
    (tmp_path / "t.yaml").write_text(text)

    def go(run):
        build = PlanBuilder("flows")
        for number, (source, target) in enumerate(pairs):
            ends = [Buffer(each, "hbm", f"{each}{number}", "int8", (N,)) for each in (source, target)]
            for index, end in enumerate(ends):
                run.place(end, written=index == 0)
            build.transfer(*ends)
        yield run.submit(build.plan())

    return run_virtual(load_topology(tmp_path / "t.yaml", overrides), [go]).time_s


@pytest.mark.parametrize(
    ("pairs", "expected"), [(("ac",), 1.002), (("cd",), 1.003), (("ab", "dc"), 2.003), (("ab", "ca", "cd"), 3.003)]
)
def test_flows_between_all_ends_of_a_bus_share_it(tmp_path, pairs, expected):
    assert seconds(tmp_path, BUS, *pairs) == pytest.approx(expected, rel=1e-3)


def test_an_override_of_the_bus_holds_everywhere(tmp_path):
    assert seconds(tmp_path, BUS, "cd", overrides=("link.bus.bandwidth=200 MB/s",)) == pytest.approx(0.503, rel=1e-3)


DUPLEX = BUS.replace(", shared: true", "").replace("name: cd, latency: 3 ms, passes: [bus]",
                                                   'name: cd, latency: 3 ms, passes: ["bus<"]')  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "expected"), [(("ab", "ac"), 2.002), (("ab", "cd"), 1.003), (("ab", "dc"), 2.003), (("ab", "ca"), 1.002)]
)
def test_a_duplex_link_is_passed_in_a_direction(tmp_path, pairs, expected):
    assert seconds(tmp_path, DUPLEX, *pairs) == pytest.approx(expected, rel=1e-3)


PIPE = BUS.replace("shared: true", "per_flow: true")


def test_a_pipe_limits_each_flow_alone(tmp_path):
    assert seconds(tmp_path, PIPE, "ab", "ab", "ba", "ac", "cd") == pytest.approx(1.003, rel=1e-3)


BACKBONE = """\
name: star
hosts:
  h: {switches: [middle, door], devices: {gpu: {product: h100_sxm, count: 8}}}
links:
  - {ends: [middle, door], name: backbone, bandwidth: 400 MB/s, latency: 1 ms, shared: true}
  - {ends: [gpu.pcie, middle], name: own, bandwidth: 100 MB/s, latency: 1 ms, passes: [backbone]}
"""


def test_a_backbone_is_taken_once_by_each_flow(tmp_path):
    (tmp_path / "t.yaml").write_text(BACKBONE)
    star = load_topology(tmp_path / "t.yaml")
    group = Group(tuple(star.devices), ("hbm",) * 8)
    found = time_in_bulk(Ground(star, group), Call("all_gather", group, 8 * N // 4), "ring", PLAIN)
    # Seven steps of eight messages, all of which pass the backbone once: 8 x 100 MB at 400 MB/s.
    assert found.time_s == pytest.approx(7 * (2.002), rel=1e-3)
    assert found.classes == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BUS.replace("2 ms, passes: [bus]", "2 ms, passes: [bas]"), "t.yaml:6: the link 'ac' passes no link 'bas'"),
        (BUS.replace("latency: 3 ms, passes: [bus]", "latency: 3 ms, passes: [ac]"), "'cd' passes 'ac', which passes"),
        (BUS.replace("shared: true", "shared: true, per_flow: true"), "shared by its flows or limits each alone"),
        (BUS.replace("latency: 2 ms,", "latency: 2 ms, capacity: 0.5,"), "say them at what the link passes"),
        (BUS + "damage:\n  - {link: ac, capacity: 0.5}\n", "'ac' has no capacity of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_passed_is_refused(tmp_path, text, said):
    with pytest.raises(BadTopology) as caught:
        seconds(tmp_path, text, "ab")
    assert said in str(caught.value)


def test_what_a_link_passes_is_part_of_the_digest(tmp_path):
    digests = set()
    for text in (BUS, BUS.replace("shared: true", "per_flow: true"), DUPLEX, DUPLEX.replace('"bus<"', "bus")):
        (tmp_path / "t.yaml").write_text(text)
        digests.add(load_topology(tmp_path / "t.yaml").digest)
    assert len(digests) == 4


def test_a_link_that_passes_a_failed_one_has_failed(tmp_path):
    (tmp_path / "t.yaml").write_text(BUS + "damage:\n  - {link: bus, failed: true}\n")
    assert {link.name for link in load_topology(tmp_path / "t.yaml").failed_links} == {"bus", "ac", "cd"}


def test_what_each_flow_has_alone_cannot_change_in_a_run(tmp_path):
    (tmp_path / "t.yaml").write_text(PIPE)
    topology = load_topology(tmp_path / "t.yaml")
    changing = replace(topology, faults=(parse_fault("bus=0.5@1 ms"),))
    with pytest.raises(BadTopology, match="bus limits each flow alone"):
        run_virtual(changing, [lambda run: iter(())])
