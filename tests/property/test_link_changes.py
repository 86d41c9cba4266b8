"""Links that fail, slow down and come back at random: never a hang, no byte lost, and times of a slow obvious twin."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import LinkFailed
from controller.execute.virtual import run_virtual
from controller.faults.schedule import parse_fault
from controller.faults.timeline import with_faults
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.topology.schema import Topology

_SPEC = importlib.util.spec_from_file_location("leaf_spine", Path(__file__).with_name("leaf_spine.py"))
_BESIDE = sys.modules["leaf_spine"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_BESIDE)
CAPACITY = _BESIDE.UPLINK_BYTES_PER_S
SPINES, SIZE = 3, 10**9  # 100 ms over one uplink


@st.composite
def fault(draw) -> str:
    link = f"up{draw(st.integers(0, 1))}_{draw(st.integers(0, SPINES - 1)):03}"
    share = draw(st.sampled_from(("", "", "=0.5", "=0.25")))
    start = draw(st.integers(0, 200))
    end = draw(st.one_of(st.just(""), st.integers(start + 1, 400).map(lambda at: f":{at} ms")))
    return f"{link}{share}@{start} ms{end}"


faults = st.lists(fault(), max_size=6)
topology = _BESIDE.leaf_spine(4, SPINES)


def declared_with(routing: str, texts: list[str]) -> Topology:
    return with_faults(replace(topology, options={"routing": routing}), map(parse_fault, texts))


def run_flows(declared: Topology, flows: int):
    def go(run):
        build = PlanBuilder("flows")
        for index in range(flows):
            source, there, back = (
                Buffer(f"gpu{leaf}_{index:03}", "hbm", name, "int8", (SIZE,))
                for leaf, name in ((0, "from"), (1, "to"), (0, "back"))
            )
            run.place(source, written=True)
            run.place(there)
            run.place(back)
            build.transfer(source, there)
            build.transfer(there, back)
        yield run.submit(build.plan())

    return run_virtual(declared, [go])


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(("single", "ecmp", "spray", "ethereal")), faults, st.integers(1, 4))
def test_it_ends_or_names_the_link_and_every_byte_crosses_once(routing, texts, flows):
    declared = declared_with(routing, texts)
    try:
        outcome = run_flows(declared, flows)
    except LinkFailed as stalled:
        failed = {each.target.name for each in declared.faults if share_of(each) == 0.0 and each.until_s == inf}
        assert stalled.links and set(stalled.links) <= failed
        return
    moved = {use.name: use.amount for use in outcome.resources if use.kind == "link"}
    for way in ("up0_{:03}>", "up1_{:03}<", "up1_{:03}>", "up0_{:03}<"):
        total = sum(moved.get(way.format(spine), 0.0) for spine in range(SPINES))
        assert total == pytest.approx(flows * SIZE, rel=1e-9)


def share_of(fault) -> float:
    return 0.0 if fault.kind == "dead" else fault.severity


def slow_time(declared: Topology) -> float:
    """When one sprayed flow and its way back end, integrated over the instants at which anything changes [s]."""
    listed = declared.faults
    instants = sorted({0.0, *(at for each in listed for at in (each.at_s, each.until_s) if at < inf)})
    left = 2.0 * SIZE

    def share(link: str, at: float) -> float:
        return min(
            (share_of(each) for each in listed if each.target.name == link and each.at_s <= at < each.until_s),
            default=1.0,
        )

    for start, end in pairwise((*instants, inf)):
        paths = [min(share(f"up{leaf}_{spine:03}", start) for leaf in range(2)) for spine in range(SPINES)]
        works = [each for each in paths if each > 0.0]
        rate = len(works) * min(works, default=0.0) * CAPACITY
        if rate and start + left / rate <= end:
            return start + left / rate
        if end == inf:
            return inf
        left -= rate * (end - start)
    raise AssertionError("unreachable: the last interval has no end")


@settings(max_examples=120, deadline=None)
@given(faults)
def test_times_are_those_of_the_twin(texts):
    declared = declared_with("spray", texts)
    expected = slow_time(declared)
    if expected == inf:
        with pytest.raises(LinkFailed):
            run_flows(declared, 1)
    else:
        assert run_flows(declared, 1).time_s == pytest.approx(expected, rel=1e-9)
