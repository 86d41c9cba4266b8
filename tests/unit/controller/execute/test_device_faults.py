"""Devices, tiers and ports that break in mid-run, with times by hand: 1 GB/s between two devices of 10 GB/s memory."""

from __future__ import annotations

import pytest

from controller.errors import DeviceUnreachable
from controller.execute.virtual import run_virtual
from controller.faults.timeline import with_faults
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.losses import DeviceLost
from controller.program.waits import wait_any
from controller.topology.fault import Component, Fault, Shape
from controller.topology.schema import Device, Endpoint, Link, Topology
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

SIZE = 10**9
SPEC = DeviceSpec(
    "toy", "gpu", "", {"hbm": TierSpec("hbm", "dram", 1 << 40, 1e10, 1e10)},
    {"vector": ComputeSpec("vector", {"fp32": 1e9})}, {"nic": PortSpec("nic", 1e9, 1e9)},
    {"stream": QueueSpec("stream", "compute")},
)  # fmt: skip


def cluster(*faults: Fault, devices: int = 3) -> Topology:
    made = {f"g{index}": Device(f"g{index}", "g", index, f"h{index}", SPEC) for index in range(devices)}
    links = tuple(
        Link(f"l{index}", Endpoint(f"g{index}", "nic"), Endpoint("s"), 1e9, 1e9, 0.0) for index in range(devices)
    )
    return with_faults(Topology("toy", "test", made, ("s",), links, digest="0" * 64), faults)


def fault(name: str, kind: str, at_s: float, severity: float = 1.0, for_s: float | None = None, **more) -> Fault:
    return Fault(Component("", name), kind, severity, at_s, for_s, **more)


def copy(source: str, target: str):
    build = PlanBuilder(f"{source} to {target}")
    pair = (
        Buffer(source, "hbm", f"to_{target}", "int8", (SIZE,)),
        Buffer(target, "hbm", f"of_{source}", "int8", (SIZE,)),
    )
    build.transfer(*pair)
    return build.plan(), pair


def copied(topology: Topology, source: str = "g0", target: str = "g1"):
    plan, (there, here) = copy(source, target)

    def go(run):
        run.place(there, written=True)
        run.place(here)
        yield run.submit(plan)

    return run_virtual(topology, [go])


def added(topology: Topology, count: int = 10**9):
    """A kernel that adds up in 1 s for a device of 1 GFLOP/s."""
    one, total = (Buffer("g0", "hbm", name, "fp32", (count,)) for name in ("one", "total"))
    build = PlanBuilder("add")
    build.kernel("add", "g0", [one, total], [total])
    plan = build.plan()

    def go(run):
        run.place(one, written=True)
        run.place(total, written=True)
        yield run.submit(plan)

    return run_virtual(topology, [go])


def test_a_slow_device_slows_the_kernel_that_runs_and_recovers():
    alone = added(cluster()).time_s
    half = added(cluster(fault("g0", "slow", 0.25 * alone, 2.0))).time_s
    assert half == pytest.approx((0.25 + 1.5) * alone)
    back = added(cluster(fault("g0", "slow", 0.25 * alone, 2.0, 0.5 * alone))).time_s
    assert back == pytest.approx((0.25 + 0.5 + 0.5) * alone)
    assert added(cluster(fault("g1", "slow", 0.0, 2.0))).time_s == alone


def test_what_starts_on_a_slow_device_is_slow_from_the_start():
    alone = added(cluster()).time_s
    assert added(cluster(fault("h0", "slow", 0.0, 4.0))).time_s == pytest.approx(4.0 * alone)


@pytest.mark.parametrize("part", ["g0.nic", "port:g1.nic", "l0", "g1.hbm"])
def test_a_part_that_keeps_a_share_of_its_bandwidth(part):
    share = 0.5 if "hbm" not in part else 0.05
    assert copied(cluster(fault(part, "bandwidth", 0.5, share))).time_s == pytest.approx(0.5 + 0.5 / 0.5)


def test_packets_that_are_lost_are_sent_again():
    assert copied(cluster(fault("l0", "loss", 0.0, 0.2))).time_s == pytest.approx(1.0 / 0.8)


def test_a_link_that_flaps_carries_nothing_while_it_is_down():
    """Down for the first half of every second: of each second half a second counts, and the end comes in the second."""
    found = copied(cluster(fault("l0", "flap", 0.0, 0.5, 60.0)))
    assert found.time_s == pytest.approx(2.0)


def test_reads_that_are_tried_again_take_longer_and_writes_do_not():
    assert copied(cluster(fault("g0.hbm", "read_retries", 0.0, 19.0))).time_s == pytest.approx(2.0)
    assert copied(cluster(fault("g1.hbm", "read_retries", 0.0, 19.0))).time_s == pytest.approx(1.0)


def test_a_dead_device_ends_the_run_with_its_name_when_no_program_takes_it():
    with pytest.raises(
        DeviceUnreachable, match=r"g1 died at 0.5 s and plan 'g0 to g1' needs it; let the program"
    ) as error:
        copied(cluster(fault("g1", "dead", 0.5)))
    assert error.value.device == "g1"
    assert copied(cluster(fault("g2", "dead", 0.5))).ok, "nobody needs it"
    assert copied(cluster(fault("g1", "dead", 1.5))).ok, "the work was done"


def test_a_plan_on_a_device_that_is_gone_is_refused():
    first, (there, here) = copy("g0", "g1")
    second, (more, far) = copy("g0", "g2")

    def go(run):
        for buffer in (there, here, more, far):
            run.place(buffer, written=True)
        yield run.submit(first)
        yield run.submit(second)

    with pytest.raises(DeviceUnreachable, match=r"g2 died at 0\.5 s and plan 'g0 to g2' needs it"):
        run_virtual(cluster(fault("g2", "dead", 0.5)), [go])


def test_a_program_that_listens_goes_on_without_the_device():
    first, pair = copy("g0", "g1")
    second, other = copy("g0", "g2")
    lost: list[DeviceLost] = []

    def go(run):
        for buffer in (*pair, *other):
            run.place(buffer, written=True)
        ticket, gone = run.submit(first), run.faults()
        happened = yield wait_any(ticket, gone)
        lost.append(happened[gone])
        run.cancel(ticket)
        yield run.submit(second)

    outcome = run_virtual(cluster(fault("g1", "dead", 0.5)), [go])
    assert lost == [DeviceLost("g1", 0.5, "died")] and outcome.time_s == pytest.approx(1.5)
    assert {"part": "device g1", "what": "dead", "at_s": 0.5, "share": 0.0, "happened": True} in outcome.part_changes


def test_every_device_of_a_host_is_told_one_after_the_other():
    plan, pair = copy("g0", "g2")
    told: list[str] = []

    def go(run):
        for buffer in pair:
            run.place(buffer, written=True)
        ticket = run.submit(plan)
        while True:
            gone = run.faults()
            happened = yield wait_any(ticket, gone)
            if gone not in happened:
                return
            told.append(happened[gone].device)

    run_virtual(cluster(fault("g1", "dead", 0.5), fault("g3", "dead", 0.5), fault("g4", "dead", 0.7), devices=5), [go])
    assert told == ["g1", "g3", "g4"]


def test_a_short_freeze_is_waited_out_and_a_long_one_is_noticed_by_silence():
    assert copied(cluster(fault("g1", "frozen", 0.5, for_s=2.0))).time_s == pytest.approx(3.0)
    with pytest.raises(DeviceUnreachable, match=r"g1 froze and was silent for 4 s at 4.5 s"):
        copied(cluster(fault("g1", "frozen", 0.5)))
    with pytest.raises(DeviceUnreachable, match="silent for 4 s"):
        copied(cluster(fault("g1", "frozen", 0.5, for_s=60.0)))


def test_a_dead_tier_ends_the_run_with_its_name():
    with pytest.raises(DeviceUnreachable, match=r"tier g1\.hbm failed and never came back; since 0.5 s"):
        copied(cluster(fault("g1.hbm", "dead", 0.5)))
    assert copied(cluster(fault("g1.hbm", "dead", 0.5, for_s=1.0))).time_s == pytest.approx(2.0)


def test_a_switch_takes_its_links_with_it():
    assert copied(cluster(fault("s", "dead", 0.5, for_s=1.0))).time_s == pytest.approx(2.0)


def test_faults_with_no_consequence_leave_times_to_the_last_bit():
    plain = added(cluster()).time_s
    flips = Shape("flips", on_s=0.1, off_s=0.1, seed=3)
    assert added(cluster(fault("g2", "slow", 0.0, 3.0, 5.0, shape=flips))).time_s == plain
