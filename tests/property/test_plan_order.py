"""Random programs: the derived edges pass the check, keep the values in every order that they allow, and are needed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.errors import UnorderedAccess
from controller.plan.build import PlanBuilder
from controller.plan.capacity import fit_plan
from controller.plan.check import accesses, check_plan
from controller.plan.ops import Alloc, Buffer, Free, Plan, View
from controller.plan.size import bind_size, symbol
from controller.topology.loader import load_topology

ROWS, COLUMNS = 6, 2
ROW_BYTES = 8 * COLUMNS
BINDINGS = {"row": 2}
BUFFERS = [
    Buffer(device, tier, name, "int64", (ROWS, COLUMNS))
    for device, tier in (("gpu", "hbm"), ("cpu", "dram"))
    for name in "abc"
]
CLUSTER = load_topology("a6000_csd")


@st.composite
def views(draw: st.DrawFn, rows: int, device: str | None = None) -> View:
    """`rows` rows of some buffer, at a fixed or an open place."""
    buffer = draw(st.sampled_from([each for each in BUFFERS if device in (None, each.device)]))
    if rows <= ROWS - BINDINGS["row"] and draw(st.integers(0, 7)) == 0:
        return View(buffer, symbol("row") * ROW_BYTES, (rows, COLUMNS))
    if rows == ROWS:
        return buffer.view()
    start = draw(st.integers(0, ROWS - rows))
    return buffer.rows(start, start + rows)


@st.composite
def programs(draw: st.DrawFn) -> Plan:
    """Kernels with two inputs, in place or not, copies, and transfers to one or two places."""
    build = PlanBuilder("random")
    for _ in range(draw(st.integers(1, 14))):
        rows = draw(st.sampled_from([1, 1, 2, 3, ROWS]))
        match draw(st.integers(0, 3)):
            case 0:
                device = draw(st.sampled_from(["gpu", "cpu"]))
                a, b, out = (draw(views(rows, device)) for _ in range(3))
                build.kernel("add", device, [a, b], [out])
            case 1:
                device = draw(st.sampled_from(["gpu", "cpu"]))
                x = draw(views(rows, device))
                build.kernel("copy", device, [x], [x])
            case 2:
                build.transfer(draw(views(rows)), draw(views(rows)))
            case _:
                build.transfer(draw(views(rows)), [draw(views(rows)) for _ in range(2)])
    return build.plan()


def an_order(plan: Plan, priorities: list[int]) -> list[int]:
    """The topological order that always takes the ready op of the smallest priority."""
    done: set[int] = set()
    order: list[int] = []
    while len(order) < len(plan.ops):
        ready = [i for i, after in enumerate(plan.after) if i not in done and done.issuperset(after)]
        order.append(min(ready, key=lambda i: (priorities[i % len(priorities)], -i)))
        done.add(order[-1])
    return order


def run(plan: Plan, order: list[int]) -> dict[Buffer, bytes]:
    """What the buffers hold after the ops ran one by one; every op mixes its number and its inputs into its outputs."""
    memory = {buffer: np.arange(ROWS * COLUMNS, dtype=np.uint64) + 1000 * index for index, buffer in enumerate(BUFFERS)}
    for index in order:
        reads, writes = accesses(plan.ops[index])
        mixed = np.uint64(index + 1)
        for view in reads:
            mixed = mixed * np.uint64(31) + slot(memory, view).copy()
        for number, view in enumerate(writes):
            slot(memory, view)[:] = mixed + np.uint64(number)
    return {buffer: content.tobytes() for buffer, content in memory.items()}


def slot(memory: dict[Buffer, np.ndarray], view: View) -> np.ndarray:
    start = bind_size(view.offset_bytes, BINDINGS) // 8
    return memory[view.buffer][start : start + bind_size(view.shape[0], BINDINGS) * COLUMNS]


@given(programs())
@settings(max_examples=100, deadline=None)
def test_derived_edges_pass_the_check(plan: Plan) -> None:
    check_plan(plan, CLUSTER, BINDINGS)


@given(programs(), st.lists(st.integers(0, 9), min_size=1, max_size=14))
@settings(max_examples=200, deadline=None)
def test_every_order_that_the_edges_allow_gives_the_values_of_program_order(plan: Plan, priorities: list[int]) -> None:
    writes_twice = any(overlap(op) for op in plan.ops)
    if not writes_twice:
        assert run(plan, an_order(plan, priorities)) == run(plan, list(range(len(plan.ops))))


def overlap(op) -> bool:
    """Two destinations of one transfer on the same bytes: no order could tell what they hold."""
    _, writes = accesses(op)
    return len(writes) > 1 and writes[0].buffer == writes[1].buffer


@given(programs(), st.data())
@settings(max_examples=150, deadline=None)
def test_an_edge_less_is_noticed_unless_another_way_leads_there(plan: Plan, data: st.DataObject) -> None:
    edges = [(earlier, index) for index, after in enumerate(plan.after) for earlier in after]
    if not edges:
        return
    earlier, index = data.draw(st.sampled_from(edges))
    after = list(plan.after)
    after[index] = tuple(each for each in after[index] if each != earlier)
    thinned = dataclasses.replace(plan, after=tuple(after))
    if earlier in before(thinned, index):
        check_plan(thinned, CLUSTER, BINDINGS)
    else:
        with pytest.raises(UnorderedAccess):
            check_plan(thinned, CLUSTER, BINDINGS)


def before(plan: Plan, index: int) -> set[int]:
    found: set[int] = set()
    todo = list(plan.after[index])
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += plan.after[each]
    return found


@st.composite
def lives(draw: st.DrawFn) -> tuple[Plan, int, int]:
    """Allocations and frees in some order, the size of their tier that just suffices in program order, and before."""
    build, alive, used, most = PlanBuilder("lives"), [], 0, 0
    before_bytes = draw(st.integers(0, 30))
    for number in range(draw(st.integers(1, 20))):
        if alive and draw(st.booleans()):
            gone = alive.pop(draw(st.integers(0, len(alive) - 1)))
            build.free(gone)
            used -= gone.nbytes
        else:
            alive.append(Buffer("gpu", "hbm", f"t{number}", "uint8", (draw(st.integers(1, 40)),)))
            build.alloc(alive[-1])
            used += alive[-1].nbytes
        most = max(most, used)
    return build.plan(), before_bytes, before_bytes + most


@given(lives(), st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(0, 20))
@settings(max_examples=150, deadline=None)
def test_a_plan_that_fits_in_program_order_fits_in_every_order(
    drawn: tuple[Plan, int, int], priorities: list[int], spare: int
) -> None:
    plan, before_bytes, capacity = drawn
    tier = ("gpu", "hbm")
    fit = fit_plan(plan, {tier: before_bytes}, {tier: capacity + spare})
    after = tuple((*waits, *fit.extra_after.get(i, ())) for i, waits in enumerate(plan.after))
    ordered = dataclasses.replace(plan, after=after)
    used = most = before_bytes
    for index in an_order(ordered, priorities):
        op = plan.ops[index]
        used += op.buffer.nbytes * (isinstance(op, Alloc) - isinstance(op, Free))
        most = max(most, used)
    assert most <= fit.peak_bytes[tier] <= capacity + spare
