"""What `check_plan` refuses, and that it finds it by itself: most plans here are made without the builder."""

import dataclasses

import pytest

from controller.errors import (
    BadPlan,
    DoubleFree,
    OutsideBuffer,
    PlanCycle,
    TransferMismatch,
    UnboundParameter,
    UnknownDevice,
    UnorderedAccess,
)
from controller.plan.build import PlanBuilder
from controller.plan.check import check_plan, describe
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Op, Plan, Transfer, View
from controller.plan.size import symbol
from node.errors import BadAttribute, ShapeMismatch, UnknownOperation


def buffer(name: str, device: str = "gpu", tier: str = "hbm", rows: int = 8) -> Buffer:
    return Buffer(device, tier, name, "fp32", (rows, 4))


A, B, C = buffer("a"), buffer("b"), buffer("c")
HOST = buffer("h", "cpu", "dram")


def relu(source: Buffer | View, target: Buffer | View, device: str = "gpu", queue: str = "") -> Kernel:
    views = [each.view() if isinstance(each, Buffer) else each for each in (source, target)]
    return Kernel("activation", device, (views[0],), (views[1],), {"kind": "relu"}, queue)


def move(source: Buffer | View, *targets: Buffer | View, **options: str) -> Transfer:
    views = [each.view() if isinstance(each, Buffer) else each for each in (source, *targets)]
    return Transfer((views[0],), tuple(views[1:]), **options)


def plan(*entries: tuple[Op, tuple[int, ...]]) -> Plan:
    return Plan("wrong", tuple(op for op, _ in entries), tuple(after for _, after in entries))


def refused(error: type[Exception], cluster, *entries: tuple[Op, tuple[int, ...]]) -> str:
    with pytest.raises(error) as caught:
        check_plan(plan(*entries), cluster)
    assert caught.type is error
    return str(caught.value)


def test_a_plan_that_is_right_passes(cluster) -> None:
    check_plan(plan((relu(A, B), ()), (move(B, HOST), (0,)), (relu(A, B), (0, 1)), (Free(B), (2,))), cluster)


def test_a_cycle_is_named(cluster) -> None:
    text = refused(PlanCycle, cluster, (relu(A, B), (1,)), (relu(B, C), (0,)), (relu(A, A), ()))
    assert "0 (activation on gpu), 1 (activation on gpu)" in text


def test_an_op_that_waits_for_itself_is_a_cycle(cluster) -> None:
    refused(PlanCycle, cluster, (relu(A, B), (0,)))


def test_an_edge_from_nowhere(cluster) -> None:
    assert "op 7, which does not exist" in refused(PlanCycle, cluster, (relu(A, B), (7,)))
    refused(PlanCycle, cluster, (relu(A, B), (-1,)))


def test_ops_are_listed_in_an_order_in_which_they_could_run(cluster) -> None:
    text = refused(BadPlan, cluster, (relu(A, B), (1,)), (relu(A, C), ()))
    assert "op 0" in text and "op 1" in text


def test_devices_tiers_and_queues_must_be_there(cluster) -> None:
    far = buffer("x", "gpu7")
    assert "no device 'gpu7'" in refused(UnknownDevice, cluster, (move(A, far), ()))
    assert "no tier 'flash'" in refused(UnknownDevice, cluster, (move(A, buffer("x", "gpu", "flash")), ()))
    assert "no queue 'stream9'" in refused(UnknownDevice, cluster, (relu(A, B, queue="stream9"), ()))
    text = refused(UnknownDevice, cluster, (move(A, HOST, queue="stream9"), ()))
    assert "no queue 'stream9'" in text and "copy_out" in text


def test_a_kernel_reaches_only_its_own_device(cluster) -> None:
    assert "transfer it first" in refused(UnknownDevice, cluster, (relu(A, HOST), ()))


def test_a_drive_without_compute_runs_no_kernel(cluster) -> None:
    spec = cluster.devices["csd0"].spec
    dumb = dataclasses.replace(spec, queues={})
    devices = {**cluster.devices, "csd0": dataclasses.replace(cluster.devices["csd0"], spec=dumb)}
    drive = buffer("x", "csd0", "flash"), buffer("y", "csd0", "flash")
    refused(UnknownDevice, dataclasses.replace(cluster, devices=devices), (relu(*drive, device="csd0"), ()))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (relu(A, B), relu(B, C)),  # read after write
        (relu(A, B), relu(C, A)),  # write after read
        (relu(A, B), move(C, B)),  # write after write
        (move(HOST, A), relu(A.rows(7, 8), B.rows(0, 1))),  # in a part
        (relu(A, B), Free(B)),
        (relu(A, B), Free(A)),
    ],
)
def test_two_accesses_without_an_order(cluster, first: Op, second: Op) -> None:
    refused(UnorderedAccess, cluster, (first, ()), (second, ()))
    check_plan(plan((first, ()), (second, (0,))), cluster)


def test_an_order_may_lead_over_other_ops(cluster) -> None:
    check_plan(plan((relu(A, B), ()), (relu(A, C), (0,)), (relu(B, A), (1,))), cluster)


def test_disjoint_parts_need_no_order(cluster) -> None:
    check_plan(plan((move(HOST.rows(0, 4), A.rows(0, 4)), ()), (move(HOST.rows(4, 8), A.rows(4, 8)), ())), cluster)


def test_an_open_offset_may_touch_everything(cluster) -> None:
    moved = View(A, symbol("row") * 16, (1, 4))
    wrong = Plan("open", (relu(B.rows(0, 1), moved), relu(A.rows(7, 8), C.rows(0, 1))), ((), ()), frozenset({"row"}))
    with pytest.raises(UnorderedAccess):
        check_plan(wrong, cluster, {"row": 0})


def test_a_writer_does_not_hide_who_read_before_it(cluster) -> None:
    """0 reads all of a; 1 writes a part of it after 0; 2 writes another part without an order."""
    ops = ((relu(A, B), ()), (move(HOST.rows(0, 2), A.rows(0, 2)), (0,)), (move(HOST.rows(4, 6), A.rows(4, 6)), ()))
    text = refused(UnorderedAccess, cluster, *ops)
    assert "op 0" in text and "op 2" in text


def test_freed_twice_and_used_after(cluster) -> None:
    assert "freed by op 0" in refused(DoubleFree, cluster, (Free(A), ()), (Free(A), (0,)))
    refused(DoubleFree, cluster, (Free(A), ()), (relu(A, B), (0,)))
    refused(DoubleFree, cluster, (Free(B), ()), (relu(A, B), (0,)))


def test_a_second_life_begins_after_the_first(cluster) -> None:
    check_plan(plan((Free(A), ()), (Alloc(A), (0,)), (relu(A, B), (1,))), cluster)
    refused(UnorderedAccess, cluster, (Free(A), ()), (Alloc(A), ()))


def test_sizes_of_a_transfer_agree(cluster) -> None:
    text = refused(TransferMismatch, cluster, (move(A.rows(0, 3), HOST.rows(0, 2)), ()))
    assert "48 bytes leave and 32 arrive" in text
    refused(TransferMismatch, cluster, (move(A.rows(0, 3), HOST.rows(0, 3), B.rows(0, 2)), ()))


def test_many_sources_need_a_network_that_reduces(cluster) -> None:
    twice = Transfer((A.view(), B.view()), (HOST.view(),), "sum")
    assert "gpu is a source twice" in refused(BadPlan, cluster, (twice, ()))
    many = Transfer((A.view(), HOST.view()), (HOST.view(),), "sum")
    said = refused(BadPlan, cluster, (many, ()))
    assert "declares no reduction" in said and "reduce with a kernel" in said
    unsaid = Transfer((A.view(), HOST.view()), (HOST.view(),))
    assert "reduction='sum'" in refused(BadPlan, cluster, (unsaid, ()))


def test_open_sizes_need_numbers(cluster) -> None:
    n = symbol("n")
    build = PlanBuilder("open")
    build.kernel("activation", "gpu", [View(A, 0, (n, 4))], [View(B, 0, (n, 4))], kind="relu")
    check_plan(build.plan(), cluster, {"n": 3})
    with pytest.raises(UnboundParameter, match="'n'"):
        check_plan(build.plan(), cluster, {"m": 3})


def test_signatures_are_those_of_the_operation_table(cluster) -> None:
    refused(ShapeMismatch, cluster, (relu(A, B.rows(0, 3)), ()))
    refused(UnknownOperation, cluster, (Kernel("relu", "gpu", (A.view(),), (B.view(),)), ()))
    refused(BadAttribute, cluster, (Kernel("activation", "gpu", (A.view(),), (B.view(),), {"sort": "relu"}), ()))


@pytest.mark.parametrize(
    "view",
    [
        View(A, 16, (8, 4)),
        View(A, -16, (1, 4)),
        View(A, 0, (9, 4)),
        View(A, 2, (1, 4)),
    ],
)
def test_a_view_stays_inside_its_buffer(cluster, view: View) -> None:
    rows = int(view.shape[0])
    source = buffer("big", rows=16).rows(0, rows)
    assert "of gpu.hbm/a, which has 128 bytes" in refused(OutsideBuffer, cluster, (relu(source, view), ()))


def test_an_open_view_is_checked_at_its_binding(cluster) -> None:
    build = PlanBuilder("open")
    build.kernel("copy", "gpu", [A.rows(0, 1)], [View(B, symbol("row") * 16, (1, 4))])
    check_plan(build.plan(), cluster, {"row": 7})
    with pytest.raises(OutsideBuffer):
        check_plan(build.plan(), cluster, {"row": 8})


def test_descriptions_are_short() -> None:
    assert describe(relu(A, B)) == "activation on gpu"
    assert describe(Kernel("copy", "gpu", (), (), label="kv append")) == "kv append on gpu"
    assert describe(move(A, HOST)) == "transfer gpu.hbm/a -> cpu.dram/h"
    assert (describe(Alloc(A)), describe(Free(A))) == ("alloc gpu.hbm/a", "free gpu.hbm/a")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "foo"}, "path 'foo'"),
        ({"reduction": "mean"}, "reduction 'mean'"),
        ({"rate_limit_bytes_per_s": -5.0}, "rate limit -5.0"),
        ({"rate_limit_bytes_per_s": float("nan")}, "rate limit nan"),
        ({"rate_limit_bytes_per_s": float("inf")}, "rate limit inf"),
    ],
)
def test_a_transfer_says_only_what_there_is(cluster, options, says: str) -> None:
    assert says in refused(BadPlan, cluster, (move(A, HOST, **options), ()))


@pytest.mark.parametrize("ends", [((), (A.view(),)), ((A.view(),), ())])
def test_a_transfer_has_both_ends(cluster, ends) -> None:
    assert "needs a source and" in refused(BadPlan, cluster, (Transfer(*ends), ()))


def test_one_name_is_one_tensor(cluster) -> None:
    assert "names of their own" in refused(BadPlan, cluster, (relu(A, B), ()), (Alloc(buffer("a", rows=9)), (0,)))


@pytest.mark.parametrize("shape", [(-4, 8), (4.5, 8), (True,), [4, 8], (1,) * 9])
def test_a_buffer_has_whole_extents(shape) -> None:
    with pytest.raises(BadPlan, match="shape"):
        Buffer("gpu", "hbm", "x", "fp32", shape)


@pytest.mark.parametrize("name", ["../x", "", "a b", "/x", "x/", "a//b", "x\n", "x" * 161])
def test_a_buffer_has_a_name_that_nodes_take(name: str) -> None:
    with pytest.raises(BadPlan, match="is not allowed"):
        Buffer("gpu", "hbm", name, "fp32", (4,))


def test_a_buffer_has_a_known_dtype() -> None:
    with pytest.raises(BadPlan, match="unknown dtype 'fp33'"):
        Buffer("gpu", "hbm", "x", "fp33", (4,))


def test_rows_of_a_buffer_without_elements() -> None:
    assert Buffer("gpu", "hbm", "x", "fp32", (0, 8)).rows(0, 0).shape == (0, 8)
    with pytest.raises(BadPlan, match="no axis"):
        Buffer("gpu", "hbm", "x", "fp32", ()).rows(0, 0)
