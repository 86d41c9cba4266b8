"""Transfers that a switch adds up or multiplies: one activity on the virtual clock, real sums on nodes."""

import pytest

from controller.errors import BadPlan, TransferMismatch
from controller.execute.dispatch import Dispatch, event_owners
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.plan.build import PlanBuilder
from controller.plan.check import check_plan
from controller.plan.ops import Buffer, View
from controller.plan.size import symbol
from controller.topology.schema import Abilities, Device, Endpoint, Link, Topology
from node.client import Allocate, LaunchKernel, Push, Release
from node.hardware.device import ComputeSpec, DeviceSpec, PortSpec, QueueSpec, TierSpec

GIGA = 1e9
SPEC = DeviceSpec(
    "toy", "gpu", "",
    {"hbm": TierSpec("hbm", "dram", 1 << 36, 1000 * GIGA, 1000 * GIGA)},
    {"vector": ComputeSpec("vector", {"fp32": 1e15})},
    {"nvlink": PortSpec("nvlink", 100 * GIGA, 100 * GIGA)},
    {"stream": QueueSpec("stream", "compute", 1, 0.0)},
)  # fmt: skip
COUNT = 10_000_000
SIZE = 4 * COUNT
HOP = 2e-6


def star(rate=100 * GIGA, able=True):
    names = [f"gpu{rank}" for rank in range(4)]
    links = tuple(Link(name, Endpoint(name, "nvlink"), Endpoint("sw"), 10 * GIGA, 10 * GIGA, 1e-6) for name in names)
    abilities = {"sw": Abilities(("fp32", "bf16"), True, rate)} if able else {}
    devices = {name: Device(name, name, 0, "h", SPEC) for name in names}
    return Topology("star", "", devices, ("sw",), links, abilities=abilities)


def at(rank, name="x", dtype="fp32", count=COUNT):
    return Buffer(f"gpu{rank}", "hbm", name, dtype, (count,))


def outcome_of(topology, build, *placed, **sizes):
    def go(run):
        for buffer in placed:
            run.place(buffer, written=True)
        yield run.submit(build.plan(), **sizes)

    outcome = run_virtual(topology, [go])
    assert outcome.ok, outcome.ended
    return outcome


def amounts(outcome, kind="link"):
    return {use.name: use.amount for use in outcome.resources if use.kind == kind}


def test_a_reduction_takes_every_uplink_and_the_downlink_once():
    build = PlanBuilder("reduce")
    sources = [at(rank) for rank in range(4)]
    build.transfer(sources, [at(0, "sum")], reduction="sum")
    outcome = outcome_of(star(), build, *sources, at(0, "sum"))
    assert outcome.time_s == pytest.approx(HOP + SIZE / (10 * GIGA), rel=1e-9)
    assert amounts(outcome) == {**{f"gpu{rank}>": SIZE for rank in range(4)}, "gpu0<": SIZE}


def test_a_multicast_takes_the_uplink_and_every_downlink_once():
    build = PlanBuilder("multicast")
    targets = [at(rank, "copy") for rank in range(1, 4)]
    build.transfer(at(0), targets)
    outcome = outcome_of(star(), build, at(0), *targets)
    assert outcome.time_s == pytest.approx(HOP + SIZE / (10 * GIGA), rel=1e-9)
    assert amounts(outcome) == {"gpu0>": SIZE, **{f"gpu{rank}<": SIZE for rank in range(1, 4)}}


def test_without_multicast_the_uplink_carries_every_copy():
    build = PlanBuilder("copies")
    targets = [at(rank, "copy") for rank in range(1, 4)]
    build.transfer(at(0), targets)
    outcome = outcome_of(star(able=False), build, at(0), *targets)
    assert outcome.time_s == pytest.approx(HOP + 3 * SIZE / (10 * GIGA), rel=1e-9)


def test_it_goes_no_faster_than_the_switch_adds():
    build = PlanBuilder("reduce")
    build.transfer([at(0), at(1)], [at(2, "sum")], reduction="max")
    outcome = outcome_of(star(rate=4 * GIGA), build, at(0), at(1), at(2, "sum"))
    assert outcome.time_s == pytest.approx(HOP + SIZE / (4 * GIGA), rel=1e-9)


def test_two_reductions_share_the_uplinks():
    build = PlanBuilder("both")
    sources = [at(rank) for rank in range(4)]
    sums = [at(rank, "sum") for rank in range(2)]
    for total in sums:
        build.transfer(sources, [total], reduction="sum")
    outcome = outcome_of(star(), build, *sources, *sums)
    assert outcome.time_s == pytest.approx(HOP + 2 * SIZE / (10 * GIGA), rel=1e-9)


def test_an_open_size_is_bound_anew():
    n = symbol("n")
    build = PlanBuilder("open")
    views = [View(at(rank), 0, (n,)) for rank in range(3)]
    build.transfer(views, [View(at(3, "sum"), 0, (n,))], reduction="sum")
    plan = build.plan()
    ends = []

    def go(run):
        for buffer in (at(0), at(1), at(2), at(3, "sum")):
            run.place(buffer, written=True)
        for size in (1_000_000, 3_000_000):
            done = yield run.submit(plan, n=size)
            ends.append(done.end_at - done.submitted_at)

    assert run_virtual(star(), [go]).ok
    assert ends == pytest.approx([HOP + 4 * size / (10 * GIGA) for size in (1_000_000, 3_000_000)], rel=1e-9)


def wrong(sources, targets, topology=None, reduction="sum"):
    build = PlanBuilder("wrong")
    build.transfer(sources, targets, reduction=reduction)
    return check_plan(build.plan(), topology or star())


def test_what_cannot_be_is_refused():
    with pytest.raises(BadPlan, match="sw of star declares no reduction"):
        wrong([at(0), at(1)], [at(2, "sum")], star(able=False))
    with pytest.raises(BadPlan, match="adds fp32, bf16, not int8"):
        wrong([at(rank, dtype="int8") for rank in (0, 1)], [at(2, "sum", "int8")])
    with pytest.raises(BadPlan, match="one element type"):
        wrong([at(0), at(1, dtype="int32")], [at(2, "sum")])
    with pytest.raises(TransferMismatch, match="one size"):
        wrong([at(0), at(1, count=5)], [at(2, "sum")])
    with pytest.raises(BadPlan, match="covers a part of its source"):
        wrong([at(0).rows(0, 8), at(1).rows(0, 8)], [at(0).rows(4, 12)])
    wrong([at(0).rows(0, 8), at(1).rows(0, 8)], [at(0).rows(0, 8)])


def test_nodes_gather_reduce_and_pass_on():
    build = PlanBuilder("live")
    build.kernel("activation", "gpu1", [at(1, "in")], [at(1)], kind="relu")
    build.transfer([at(0), at(1), at(2)], [at(0), at(3)], reduction="sum")
    build.kernel("activation", "gpu3", [at(3)], [at(3, "out")], kind="relu")
    plan, topology = build.plan(), star()
    found = Dispatch(topology, Fabric(topology)).commands(plan, 100, {})
    numbers = [command.id for commands in found.values() for command in commands]
    assert sorted(numbers) == [100 + offset for offset in range(len(event_owners(plan)))]
    here = found["gpu0"]
    assert [type(command) for command in here] == [Allocate, Allocate, LaunchKernel, Push, Release, Release]
    reduce = here[2]
    assert reduce.op == "reduce" and reduce.attributes["kind"] == "sum"
    # The operands are in the order of the sources, its own in its place.
    assert reduce.inputs[0].name == "hbm/x" and len(reduce.inputs) == 3
    passed = here[3]
    assert passed.id == 101 and passed.notify == ("gpu3",) and passed.wait == (reduce.id,)
    pushes = [command for device in ("gpu1", "gpu2") for command in found[device] if isinstance(command, Push)]
    assert all(100 in push.wait and push.notify == ("gpu0",) for push in pushes)
    assert set(reduce.wait) == {100, *(push.id for push in pushes)}
    # Whoever carries out a part is told when what it waits for has ended.
    assert set(found["gpu1"][0].notify) == {"gpu0", "gpu2"}
