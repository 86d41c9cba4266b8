"""A plan as commands for nodes: who gets what, waits for what and tells whom."""

from controller.execute.dispatch import Dispatch
from controller.fabric.loads import Fabric
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import symbol
from controller.topology.loader import load_topology
from node.client import Allocate, LaunchKernel, Operand, Push, Release

X = Buffer("gpu0", "hbm", "x", "fp32", (8, 4))
Y = Buffer("gpu0", "hbm", "y", "fp32", (8, 4))
HOST = Buffer("cpu", "dram", "x", "fp32", (8, 4))
OUT = Buffer("cpu", "dram", "out", "fp32", (8, 4))


def commands(toy, build: PlanBuilder, first: int = 100, **sizes: int):
    topology = toy()
    return Dispatch(topology, Fabric(topology)).commands(build.plan(), first, sizes)


def test_each_op_goes_to_the_node_that_carries_it_out(toy) -> None:
    build = PlanBuilder("two nodes")
    build.kernel("activation", "gpu0", [X], [Y], kind="relu")
    build.transfer(Y, HOST, queue="copy")
    build.kernel("activation", "cpu", [HOST], [OUT], kind="relu")
    found = commands(toy, build)
    assert list(found) == ["gpu0", "cpu"]
    launch, push = found["gpu0"]
    (last,) = found["cpu"]
    assert isinstance(launch, LaunchKernel) and (launch.id, launch.op, launch.wait, launch.notify) == (
        100,
        "activation",
        (),
        (),
    )
    assert launch.inputs == (Operand("hbm/x", 0, (8, 4)),)
    assert launch.attributes == {"kind": "relu"}
    assert isinstance(push, Push) and (push.id, push.queue, push.wait, push.notify) == (101, "copy", (100,), ("cpu",))
    assert push.destinations == (("cpu", Operand("dram/x", 0, (8, 4))),)
    assert (last.id, last.wait) == (102, (101,))


def test_a_push_names_its_way(toy) -> None:
    build = PlanBuilder("way")
    build.transfer(X, HOST, rate_limit_bytes_per_s=3e9)
    build.transfer(X, Y)
    push, local = commands(toy, build)["gpu0"]
    assert (push.out_port, push.in_port, push.links) == ("pcie", "pcie", ("gpu0.pcie-root>", "cpu.pcie-root<"))
    assert (push.latency_s, push.rate_limit_bytes_per_s) == (2e-6, 3e9)
    assert (local.out_port, local.in_port, local.links, local.rate_limit_bytes_per_s) == ("", "", (), 0.0)


def test_open_sizes_are_numbers_for_a_node(toy) -> None:
    n = symbol("n")
    build = PlanBuilder("open")
    build.kernel("copy", "gpu0", [View(X, n * 16, (1, 4))], [View(Y, 0, (1, 4))])
    build.kernel("kv_write", "gpu0", [View(X, 0, (1, 1, 1, 4))], [View(Y, 0, (1, 1, 8, 4))], position=n, tokens=1)
    copy, write = commands(toy, build, n=3)["gpu0"]
    assert copy.inputs == (Operand("hbm/x", 48, (1, 4)),)
    assert (write.attributes["position"], write.attributes["tokens"]) == (3, 1)
    assert write.attributes["start"] == 0, "attributes with a default are written out"


def test_buffers_come_and_go_where_they_lie(toy) -> None:
    build = PlanBuilder("life")
    build.alloc(HOST)
    build.transfer(X, HOST)
    build.free(HOST)
    found = commands(toy, build)
    make, end = found["cpu"]
    assert isinstance(make, Allocate) and (make.name, make.tier, make.dtype, make.shape) == (
        "dram/x",
        "dram",
        "fp32",
        (8, 4),
    )
    assert (make.id, make.notify) == (100, ("gpu0",))
    assert isinstance(end, Release) and (end.id, end.wait) == (102, (101,))
    assert found["gpu0"][0].wait == (100,)


def test_each_execution_has_events_of_its_own(toy) -> None:
    build = PlanBuilder("again")
    build.kernel("copy", "gpu0", [X], [Y])
    build.kernel("copy", "gpu0", [Y], [X])
    assert [entry.id for entry in commands(toy, build, first=7)["gpu0"]] == [7, 8]
    assert commands(toy, build, first=9)["gpu0"][1].wait == (9,)


def test_a_kernel_names_the_card_that_its_operands_lie_on() -> None:
    topology = load_topology("cxl_finetune")
    near, far = Buffer("cpu", "dram", "x", "fp32", (4,)), Buffer("aic0", "cxl", "y", "fp32", (4,))
    build = PlanBuilder("far")
    build.transfer(near, far)
    build.kernel("add", "cpu", [near, far], [far])
    build.transfer(far, near)
    found = Dispatch(topology, Fabric(topology)).commands(build.plan(), 100, {})
    _, launch = found["cpu"]
    (back,) = found["aic0"]
    assert isinstance(launch, LaunchKernel) and isinstance(back, Push)
    assert launch.inputs == (Operand("dram/x", 0, (4,)), Operand("cxl/y", 0, (4,), "aic0"))
    assert launch.outputs == (Operand("cxl/y", 0, (4,), "aic0"),)
    # The copy back starts at the card, which hears when the kernel has ended.
    assert (launch.wait, launch.notify, back.wait) == ((100,), ("aic0",), (100, 101))
