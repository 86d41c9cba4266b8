"""Targets, kinds and times of faults, and what they mean at an instant."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology
from controller.faults.effects import EffectsOf, effects_at, instants
from controller.faults.file import read_faults
from controller.faults.kinds import KINDS
from controller.faults.targets import struck
from controller.faults.timeline import Timeline, checked, with_faults
from controller.topology.fault import Component
from controller.topology.loader import load_topology

TWO = load_topology("two_dgx_h100")
GPU = next(iter(TWO.of_kind("gpu"))).name


@pytest.fixture
def timeline_of(tmp_path):
    def make(*entries: str, topology=TWO):
        path = tmp_path / "faults.yaml"
        path.write_text("faults:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries))
        return Timeline.of(topology, read_faults(path))

    return make


def test_names_alone_are_found_and_kinds_can_be_written(timeline_of):
    entries = [
        f"target: {GPU}, kind: dead, at: 1 s, for: 1 s",
        f"target: {GPU}.hbm, kind: bandwidth, severity: 0.5, at: 1 s",
        f"target: 'process:{GPU}', kind: slow, severity: 2, at: 3 s",
        "target: host_b, kind: frozen, at: 1 s",
    ]
    found = timeline_of(*entries).faults
    assert [fault.target.kind for fault in found] == ["device", "tier", "process", "host"]


def test_a_host_takes_its_devices_and_every_link_that_touches_it():
    hit = struck(TWO, Component("host", "host_a"))
    assert set(hit.devices) == {name for name, device in TWO.devices.items() if device.host == "host_a"}
    hosts = {**TWO.switch_hosts, **{name: device.host for name, device in TWO.devices.items()}}
    own = [link.name for link in TWO.links if "host_a" in (hosts.get(link.a.vertex), hosts.get(link.b.vertex))]
    assert list(hit.links) == own and own


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("target: gpu99, kind: dead, at: 1 s", r"nothing is called 'gpu99'; .*known components"),
        ("target: 'hosts:host_a', kind: dead, at: 1 s", r"no kind of component 'hosts'; did you mean 'host'"),
        ("target: 'host:node', kind: dead, at: 1 s", r"no host 'node'"),
        (f"target: {GPU}, kind: ded, at: 1 s", r"no kind of fault 'ded'; did you mean 'dead'"),
        (f"target: {GPU}.hbm, kind: frozen, at: 1 s", r"'frozen' strikes a device"),
        (f"target: {GPU}, kind: slow, at: 1 s", r"needs a severity; write 'severity:' with times slower"),
        (f"target: {GPU}, kind: slow, severity: 0.5, at: 1 s", r"a severity of 0.5; write times slower, above 1"),
        (f"target: {GPU}.hbm, kind: bandwidth, severity: 2, at: 1 s", r"a severity of 2; write the share"),
        (f"target: {GPU}, kind: dead, at: -1 s", r"negative"),
        (f"target: {GPU}, kind: dead, at: 1 s, for: 0 s", r"lasts 0 s; write a time above 0 s"),
        (f"target: {GPU}, kind: dead, at: 1 s, for: 5", r"'for' is 5; write a time with its unit"),
        (f"target: {GPU}, kind: dead, at: 1 s, shape: {{ramp: {{rise: 1 s}}}}", r"'dead' has no ramp"),
        (f"target: {GPU}, kind: dead, at: 1 s, shape: {{on_off: {{on: 1 s, off: 1 s}}}}", r"without an end"),
        (f"target: {GPU}, kind: dead, at: 1 s, shape: ramped", r"no shape 'ramped'; did you mean 'ramp'"),
        (f"target: {GPU}, kind: dead, at: 1 s, for: 9 s, shape: {{flips: {{on: 1 s, of: 1 s}}}}", r"unknown key 'of'"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_its_line(timeline_of, entry, said):
    with pytest.raises(BadTopology, match=r"faults\.yaml:2.*" + said):
        timeline_of(entry)


@pytest.mark.parametrize(
    "entries",
    [
        (f"target: {GPU}, kind: dead, at: 1 s", f"target: {GPU}, kind: frozen, at: 2 s"),
        (f"target: {GPU}, kind: slow, severity: 2, at: 1 s", f"target: {GPU}, kind: slow, severity: 3, at: 2 s"),
        (f"target: {GPU}, kind: dead, at: 1 s", f"target: 'process:{GPU}', kind: frozen, at: 2 s"),
    ],
)
def test_contradictory_overlaps_name_both_lines(timeline_of, entries):
    with pytest.raises(BadTopology, match=r"faults\.yaml:3.*at the same time; .*faults\.yaml:2.*for"):
        timeline_of(*entries)


def test_effects_are_the_worst_of_what_strikes(timeline_of):
    timeline = timeline_of(
        f"target: {GPU}, kind: slow, severity: 2, at: 1 s, for: 4 s",
        "target: host_a, kind: slow, severity: 4, at: 2 s, for: 1 s",
        f"target: {GPU}.hbm, kind: bandwidth, severity: 0.25, at: 2 s",
    )
    assert instants(timeline) == (1.0, 2.0, 3.0, 5.0)
    assert [effects_at(timeline, at_s).compute.get(GPU) for at_s in (0.5, 1.0, 2.0, 3.0, 5.0)] == [
        None,
        0.5,
        0.25,
        0.5,
        None,
    ]
    assert effects_at(timeline, 9.0).bandwidth == {Component("tier", f"{GPU}.hbm"): 0.25}


def test_shapes_go_over_time(timeline_of):
    timeline = timeline_of(
        f"target: {GPU}, kind: slow, severity: 3, at: 1 s, for: 32 s, shape: {{ramp: {{rise: 16 s}}}}",
    )
    effects = EffectsOf(timeline)
    slower = [1.0 / effects.at(1.0 + step).compute[GPU] for step in (0, 7, 15, 31)]
    assert slower == pytest.approx([1.125, 2.0, 3.0, 3.0])
    flaps = timeline_of(f"target: '{TWO.links[0].name}', kind: flap, severity: 0.25, at: 0 s, for: 2.1 s")
    assert instants(flaps) == pytest.approx((0.0, 0.25, 1.0, 1.25, 2.0, 2.1))
    down = [bool(effects_at(flaps, at_s).down_links) for at_s in (0.1, 0.5, 1.1, 1.5, 2.05, 2.2)]
    assert down == [True, False, True, False, True, False]


def test_random_flips_come_from_their_seed_alone(timeline_of):
    flips = "kind: slow, severity: 2, at: 0 s, for: 100 s, shape: {flips: {on: 1 s, off: 2 s, seed: %d}}"
    one = timeline_of(f"target: {GPU}, {flips % 7}")
    both = timeline_of(f"target: {GPU}, {flips % 7}", f"target: {GPU}.hbm, kind: dead, at: 500 s")
    assert instants(both)[:-1] == instants(one) and len(instants(one)) > 20
    assert instants(timeline_of(f"target: {GPU}, {flips % 8}")) != instants(one)


def test_what_is_lost_is_sent_again(timeline_of):
    link = TWO.links[0]
    effects = effects_at(timeline_of(f"target: '{link.name}', kind: loss, severity: 0.2, at: 0 s"), 0.0)
    part = Component("link", link.name)
    assert effects.bandwidth == {part: pytest.approx(0.8)}
    assert effects.added_latency_s == {part: pytest.approx(0.25 * 2 * link.latency_s)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_effect(timeline_of, kind):
    severity = {"slow": 2, "read_retries": 2}.get(kind, 0.5)
    strikes = KINDS[kind].strikes
    target = TWO.links[0].name if "link" in strikes else f"{GPU}.hbm" if kind == "read_retries" else GPU
    timeline = timeline_of(f"target: '{target}', kind: {kind}, severity: {severity}, at: 0 s, for: 1 s")
    assert effects_at(timeline, 0.0) != effects_at(timeline, 1.0)
    assert with_faults(TWO, timeline.faults).digest != TWO.digest


def test_checked_twice_is_the_same(timeline_of):
    found = timeline_of("target: host_a, kind: dead, at: 1 s").faults
    assert checked(TWO, found) == found
