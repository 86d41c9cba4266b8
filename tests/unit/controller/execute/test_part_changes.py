"""Links that change in mid-run, with times by hand: 10 GB/s uplinks, everything else far faster, no latency."""

from __future__ import annotations

import pytest

from controller.errors import BadTopology, LinkFailed
from controller.execute.virtual import run_virtual
from controller.faults.schedule import parse_fault
from controller.faults.timeline import with_faults
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import DeviceSpec, PortSpec, QueueSpec, TierSpec

FAST = 1e15
HOST = DeviceSpec(
    "toy", "gpu", "", {"hbm": TierSpec("hbm", "dram", 1 << 50, FAST, FAST)}, {}, {"nic": PortSpec("nic", FAST, FAST)},
    {"stream": QueueSpec("stream", "compute")},
)  # fmt: skip
SIZE = 10**9  # 0.1 s on one uplink


def fabric(spines: int, hosts: int = 2, faults: str = "", **options: str) -> Topology:
    devices, links = {}, []
    for leaf in range(2):
        for index in range(hosts):
            name = f"g{leaf}{index}"
            devices[name] = Device(name, "g", len(devices), f"h{leaf}", HOST)
            links.append(Link(f"nic-{name}", Endpoint(name, "nic"), Endpoint(f"leaf{leaf}"), FAST, FAST, 0.0))
        for spine in range(spines):
            ends = Endpoint(f"leaf{leaf}"), Endpoint(f"spine{spine}")
            links.append(Link(f"up{leaf}-{spine}", *ends, 1e10, 1e10, 0.0))
    switches = ("leaf0", "leaf1", *(f"spine{spine}" for spine in range(spines)))
    made = Topology("clos", "test", devices, switches, tuple(links), digest="0" * 64, options=options)
    return with_faults(made, map(parse_fault, faults.split("; ") if faults else ()))


def buffer(device: str, name: str) -> Buffer:
    return Buffer(device, "hbm", name, "int8", (SIZE,))


def outcome_of(topology: Topology, flows: int = 1, rounds: int = 1):
    def go(run):
        build = PlanBuilder("flows")
        for index in range(flows):
            source = buffer(f"g0{index}", f"x{index}")
            run.place(source, written=True)
            for turn in range(rounds):
                there = buffer(f"g1{index}", f"y{index}.{turn}")
                run.place(there)
                build.transfer(source, there)
                source = buffer(f"g0{index}", f"z{index}.{turn}")
                run.place(source)
                build.transfer(there, source)
        yield run.submit(build.plan())

    return run_virtual(topology, [go])


def test_without_faults_nothing_is_reported():
    outcome = outcome_of(fabric(2))
    assert outcome.time_s == pytest.approx(0.2) and "link_changes" not in outcome.reports()


@pytest.mark.parametrize("routing", ["single", "ecmp", "ethereal"])
@pytest.mark.parametrize("half", [0, 1])
def test_what_is_left_goes_over_the_other_path(routing, half):
    """Whichever of the two links fails, one flow alone loses no time: there are as fast ones."""
    outcome = outcome_of(fabric(3, routing=routing, faults=f"up0-{half}@50 ms"))
    ideal = 0.2 if routing != "ethereal" else outcome.time_s
    assert outcome.time_s == pytest.approx(ideal)
    (report,) = outcome.link_changes
    assert report["happened"] and report["link"] == f"up0-{half}"


def test_two_flows_share_what_is_left_and_the_bytes_are_counted_where_they_went():
    """Sprayed over two uplinks until 50 ms, half is done; then both share one, and the way back too."""
    outcome = outcome_of(fabric(2, routing="spray", faults="up0-1@50 ms"), flows=2)
    assert outcome.time_s == pytest.approx(0.05 + 0.1 + 0.2)
    used = {use.name: use.amount for use in outcome.resources if use.kind == "link"}
    assert used["up0-0>"] == pytest.approx(0.25 * 2 * SIZE + 0.5 * 2 * SIZE)
    assert used["up0-1>"] == pytest.approx(0.25 * 2 * SIZE)
    assert used["up0-0<"] == pytest.approx(2 * SIZE) and "up0-1<" not in used


def test_a_link_that_comes_back_is_used_again():
    outcome = outcome_of(fabric(2, routing="spray", faults="up0-1@50 ms:100 ms"), flows=2)
    # 50 ms at twice 10 GB/s, 50 ms at 10, so a quarter is left: 25 ms; then 100 ms back.
    assert outcome.time_s == pytest.approx(0.125 + 0.1)
    assert [report["moved_transfers"] for report in outcome.link_changes] == [4, 4]


def test_what_starts_later_never_takes_the_failed_link():
    outcome = outcome_of(fabric(2, faults="up0-0@0 s"))
    assert outcome.time_s == pytest.approx(0.2)
    assert not [use for use in outcome.resources if use.name.startswith("up0-0")]


def test_a_degraded_link_is_slower_from_then_on():
    outcome = outcome_of(fabric(1, faults="up0-0=0.5@50 ms"))
    assert outcome.time_s == pytest.approx(0.05 + 0.1 + 0.2)


def test_without_another_path_it_waits_until_the_link_comes_back():
    outcome = outcome_of(fabric(1, faults="up0-0@50 ms:1 s"))
    assert outcome.time_s == pytest.approx(1.0 + 0.05 + 0.1)


def test_without_any_way_out_the_run_ends_with_the_name_of_the_link():
    with pytest.raises(LinkFailed) as stalled:
        outcome_of(fabric(1, faults="up0-0@50 ms"), flows=2)
    assert stalled.value.links == ("up0-0",)
    for word in ("up0-0 failed at 0.05 s", "since 0.05 s", "g00.hbm/x0", "2 more ops", "flows"):
        assert word in str(stalled.value)


def test_when_the_last_path_fails_it_stalls_and_when_one_returns_it_goes_on():
    topology = fabric(2, routing="spray", faults="up0-0@10 ms; up0-1@20 ms; up0-0@10 ms:1 s")
    with pytest.raises(LinkFailed) as stalled:
        outcome_of(topology)
    assert set(stalled.value.links) == {"up0-1"} or set(stalled.value.links) == {"up0-0", "up0-1"}
    outcome = outcome_of(fabric(2, routing="spray", faults="up0-0@10 ms:1 s; up0-1@20 ms"))
    assert outcome.time_s == pytest.approx(1.0 + (SIZE - 2e10 * 0.01 - 1e10 * 0.01) / 1e10 + 0.1)


def test_a_change_after_the_end_is_reported_as_not_happened():
    outcome = outcome_of(fabric(1, faults="up0-0@10 s"))
    assert outcome.time_s == pytest.approx(0.2)
    assert [report["happened"] for report in outcome.link_changes] == [False]


def test_plans_after_the_failure_are_compiled_anew():
    def go(run):
        build = PlanBuilder("again")
        x, y = buffer("g00", "x"), buffer("g10", "y")
        run.place(x, written=True)
        run.place(y)
        build.transfer(x, y)
        plan = build.plan()
        for _ in range(3):
            yield run.submit(plan)

    outcome = run_virtual(fabric(2, faults="up0-0@150 ms"), [go])
    assert outcome.time_s == pytest.approx(0.3)
    used = {use.name: use.amount for use in outcome.resources}
    assert used["up0-0>"] == pytest.approx(1.5 * SIZE) and used["up0-1>"] == pytest.approx(1.5 * SIZE)


def test_an_unknown_link_is_refused_before_anything_runs():
    with pytest.raises(BadTopology, match="no link 'up9'"):
        outcome_of(fabric(1, faults="up9@1 ms"))
