"""Traces of outages: pairs that cross, hosts that they strike, and what is said of a wrong line."""

from __future__ import annotations

import json

import pytest

from controller.errors import BadTopology
from controller.faults.sources.stepfun import DAY_S, outages_on, read_stepfun
from controller.topology.loader import load_topology


def event(node: str, days: float, kind: str, cause: str = "GPU", description: str = "Xid"):
    what = {"Level": "Hardware Failure", "Class": cause, "Desc": description}
    return {"node_id": node, "event_time": days, "event_type": f"fault_{kind}", "fault_type": what}


@pytest.fixture
def trace_of(tmp_path):
    def write(*events: object):
        path = tmp_path / "trace.json"
        path.write_text("[\n" + ",\n".join(json.dumps(each) for each in events) + "\n]\n")
        return path

    return write


CROSSING = (
    event("a", 1.0, "start", "GPU"), event("a", 2.0, "start", "CPU"), event("b", 2.5, "start"),
    event("a", 3.0, "end", "GPU"), event("a", 4.0, "end", "CPU"), event("b", 9.0, "end"),
)  # fmt: skip


def test_a_crossing_pair_is_told_apart_by_its_class(trace_of):
    found = read_stepfun(trace_of(*CROSSING))
    assert [(each.node, each.cause, each.start_s / DAY_S, each.end_s / DAY_S) for each in found] == [
        ("a", "GPU", 1.0, 3.0), ("a", "CPU", 2.0, 4.0), ("b", "GPU", 2.5, 9.0),
    ]  # fmt: skip


def test_a_server_is_one_host_that_is_dead_as_long_as_any_fault_is_open(trace_of):
    topology = load_topology("two_dgx_h100")
    first, second = outages_on(topology, read_stepfun(trace_of(*CROSSING)))
    assert (first.target.name, first.at_s, first.until_s) == ("host_a", DAY_S, 4 * DAY_S)
    assert (second.target.name, second.at_s, second.until_s) == ("host_b", 2.5 * DAY_S, 9 * DAY_S)
    with pytest.raises(BadTopology, match="3 servers and two_dgx_h100 has 2 hosts"):
        outages_on(topology, read_stepfun(trace_of(*CROSSING, event("c", 10.0, "start"))))


def test_what_is_open_at_the_end_lasts_for_good(trace_of):
    (found,) = read_stepfun(trace_of(event("a", 1.0, "start")))
    assert found.end_s is None


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([event("a", 1.0, "end")], r"trace.json:2: a fault of a ends that never began"),
        ([event("a", 2.0, "start"), event("a", 1.0, "end")], r":3: an event at 1 days after one at 2; sort"),
        ([event("a", -1.0, "start")], r":2: event_time is -1.0; write a number of days"),
        ([event("a", 1.0, "stop")], r":2: event_type is 'fault_stop'; write fault_start"),
        ([event("", 1.0, "start")], r":2: node_id is ''"),
        ([event("a", 1.0, "start"), 5], r":3: '5' is no event"),
        ([{**event("a", 1.0, "start"), "fault_type": "GPU"}], r":2: fault_type is 'GPU'"),
        ([{**event("a", 1.0, "start"), "event_time": float("nan")}], r":2: event_time is nan"),
    ],
)
def test_a_bad_line_is_named(trace_of, events, said):
    with pytest.raises(BadTopology, match=said):
        read_stepfun(trace_of(*events))


@pytest.mark.parametrize(("text", "said"), [("{}", ":1: a trace is a JSON list"), ("[\n{]", r":2: this is not JSON")])
def test_what_is_no_list_is_refused(tmp_path, text, said):
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(BadTopology, match=said):
        read_stepfun(path)
