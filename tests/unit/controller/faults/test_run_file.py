"""Files of ``fault run``, and what is said of a wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.errors import BadTopology
from controller.faults.run_file import read_fault_run
from controller.topology.loader import load_topology

GOOD = "topology: dgx_h100\nworkload: collective all_reduce -b 1M -e 1M\n"
FAULTS = "faults:\n  - {target: gpu1, kind: slow, severity: 2, at: 1 ms}\n"


@pytest.fixture
def file_with(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return write


def test_a_file_says_what_runs_and_what_breaks(file_with) -> None:
    found = read_fault_run(file_with(GOOD + "seed: 7\n" + FAULTS))
    assert (found.topology, found.seed, found.words[:2]) == ("dgx_h100", 7, ("collective", "all_reduce"))
    (fault,) = found.faults(load_topology("dgx_h100"))
    assert (fault.target.name, fault.kind, fault.where.rpartition(":")[2]) == ("gpu1", "slow", "5")


def test_rates_are_drawn_from_the_seed(file_with) -> None:
    rates = "rates: {name: greyhound, for: 10 s, times: 100000}\n"
    topology = load_topology("dgx_h100")
    one, same, other = (
        read_fault_run(file_with(f"{GOOD}seed: {seed}\n{rates}")).faults(topology) for seed in (1, 1, 2)
    )
    assert one == same != other and one and all(fault.at_s < 10 for fault in one)


def test_a_trace_goes_as_many_times_as_fast(file_with, tmp_path: Path) -> None:
    what = {"Level": "Hardware Failure", "Class": "GPU", "Desc": "Xid"}
    events = [
        {"node_id": "a", "event_time": days, "event_type": f"fault_{kind}", "fault_type": what}
        for days, kind in ((1.0, "start"), (3.0, "end"))
    ]
    (tmp_path / "trace.json").write_text(json.dumps(events))
    found = read_fault_run(file_with(GOOD + "trace: {file: trace.json, times: 86400}\n"))
    (fault,) = found.faults(load_topology("dgx_h100"))
    assert (fault.target.kind, fault.at_s, fault.for_s) == ("host", 1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD, r":1: write either 'faults' or 'rates'"),
        (GOOD + "trace: x.json\n", r":3: 'x.json' is no trace; write for example"),
        (GOOD + "trace: {file: none.json}\n", r"none.json: cannot be read"),
        (GOOD + FAULTS + "rates: {name: rsc1, for: 1 s}\n", r"write either 'faults' or 'rates'"),
        ("workload: run x\n" + FAULTS, r"'topology' is missing"),
        ("topology: dgx_h100\n" + FAULTS, r"'workload' is missing"),
        ("topology: dgx_h100\nworkload: train x\n" + FAULTS, r":2: a workload begins with run or collective"),
        ("topology: dgx_h100\nworkload: run 'x\n" + FAULTS, r":2: the workload .* is no command line"),
        ("topology: dgx_h100\nworkload: run x --live\n" + FAULTS, r":2: --live is said by"),
        (GOOD + "detector: c4d\n" + FAULTS, r":3: unknown key 'detector'"),
        (GOOD + "recovery: restart\n" + FAULTS, r":3: 'restart' is no recovery; write for example"),
        (GOOD + "recovery: {policy: restart, every: 0}\n" + FAULTS, r":3: a checkpoint every 0 steps"),
        (GOOD + "seed: -1\n" + FAULTS, r":3: a seed of -1"),
        (GOOD + "rates: {name: rsc2, for: 1 s}\n", r":3: no rates called 'rsc2'; did you mean 'rsc1'"),
        (GOOD + "rates: {name: rsc1}\n", r":3: 'for' is missing"),
        (GOOD + "rates: {name: rsc1, for: 1 s, times: 0}\n", r":3: 0 times as often"),
        (GOOD + "faults:\n  - {target: gpu1, kind: slow, severity: 2, at: -1 ms}\n", r":4: .*negative"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(file_with, text: str, said: str) -> None:
    with pytest.raises(BadTopology, match=said):
        read_fault_run(file_with(text))
