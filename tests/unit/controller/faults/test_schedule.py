"""Texts of faults, and what links can carry when."""

from __future__ import annotations

from math import inf

import pytest

from controller.collectives.group import first_ranks, only
from controller.errors import BadOverride, BadTopology
from controller.faults.effects import EffectsOf
from controller.faults.schedule import parse_fault, parse_faults
from controller.faults.timeline import Timeline, with_faults
from controller.topology.fault import BANDWIDTH, DEAD, Component
from controller.topology.loader import load_topology

DGX = load_topology("dgx_h100")
LINK = "gpu0.nvlink-nvswitch"


def test_texts():
    fault = parse_fault(" up0 @ 2 ms ")
    assert (fault.target, fault.kind, fault.at_s, fault.until_s) == (Component("link", "up0"), DEAD, 2e-3, inf)
    fault = parse_fault("up0=0.25@1 us:1 s")
    assert (fault.kind, fault.severity, fault.at_s, fault.until_s) == (BANDWIDTH, 0.25, 1e-6, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("up0", "write LINK@TIME"),
        ("@1 ms", "write LINK@TIME"),
        ("up0@1", "unit"),
        ("up0@-1 ms", "negative"),
        ("up0@2 ms:1 ms", "not after its beginning"),
        ("up0=1.5@1 ms", "between 0 and 1"),
        ("up0=0@1 ms", "without a share"),
        ("up0=x@1 ms", "between 0 and 1"),
        ("up0=nan@1 ms", "between 0 and 1"),
    ],
)
def test_texts_that_cannot_be_meant(text, said):
    with pytest.raises(BadTopology, match=said):
        parse_fault(text)


def test_the_worst_fault_counts_and_what_was_comes_back():
    a, b = (f"gpu{index}.nvlink-nvswitch" for index in range(2))
    texts = (f"{a}=0.5@1 s", f"{a}@2 s:3 s", f"{b}@2 s:4 s", f"{a}=0.8@2 s:6 s")
    effects = EffectsOf(Timeline.of(DGX, map(parse_fault, texts)))
    assert effects.instants == (1.0, 2.0, 3.0, 4.0, 6.0)
    found = [[effects.at(at_s).bandwidth.get(Component("link", link), 1.0) for link in (a, b)] for at_s in range(7)]
    assert found == [[1.0, 1.0], [0.5, 1.0], [0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.5, 1.0], [0.5, 1.0]]
    assert effects.at(2.5).down_links == {a, b}


def test_faults_name_links_that_there_are():
    declared = with_faults(DGX, parse_faults([f"{LINK}@1 ms"], [f"{LINK}=0.5@2 ms"]))
    assert [fault.target.name for fault in declared.faults] == [LINK, LINK]
    with pytest.raises(BadTopology, match=r"fault 'gpu0\.nvlnk.*did you mean 'gpu0\.nvlink-nvswitch'"):
        with_faults(DGX, [parse_fault("gpu0.nvlnk-nvswitch@1 ms")])


def test_other_faults_give_another_digest():
    one, other = (with_faults(DGX, [parse_fault(f"{LINK}@{at}")]).digest for at in ("1 ms", "2 ms"))
    assert len({DGX.digest, one, other}) == 3
    assert with_faults(DGX, [parse_fault(f" {LINK} @ 1 ms")]).digest == one
    assert with_faults(DGX, []) is DGX


def test_what_is_left_of_a_topology_keeps_the_faults_of_its_links():
    declared = with_faults(DGX, map(parse_fault, (f"{LINK}@1 ms", "gpu7.nvlink-nvswitch@2 ms")))
    assert [fault.target.name for fault in only(declared, first_ranks(declared, 2)).faults] == [LINK]


def test_options_of_the_command_line():
    found = parse_faults(["a@1 ms"], ["b=0.5@2 ms"])
    assert [(fault.target.name, fault.kind, fault.severity) for fault in found] == [
        ("a", DEAD, 1.0),
        ("b", BANDWIDTH, 0.5),
    ]
    with pytest.raises(BadTopology, match="without a share"):
        parse_faults(["a=0.5@1 ms"], [])
    with pytest.raises(BadTopology, match="LINK=SHARE@TIME"):
        parse_faults([], ["a@1 ms"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("gpu0.nvlink-nvswitch@1 ms", "--fail 'gpu0.nvlink-nvswitch@1 ms'"),
        ("a@1 ms; b=0.5@2 ms", "--fail 'a@1 ms' --degrade 'b=0.5@2 ms'"),
    ],
)
def test_the_option_of_before_is_refused_with_the_line_to_write(text, line):
    with pytest.raises(BadOverride, match=line):
        load_topology("dgx_h100", [f"options.faults={text}"])
