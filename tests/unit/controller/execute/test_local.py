"""The local executor: values of this process, on the clock and in the tiers of the virtual one."""

import subprocess
import sys

import numpy as np
import pytest
from pytest import approx

from controller.errors import BadWait, DoubleFree, KernelFailed, UnwrittenRead
from controller.execute.local import LocalRun, run_local
from controller.execute.local_memory import LocalMemory
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, Transfer, View
from controller.plan.size import symbol
from controller.program.waits import wait_all, wait_any
from node.errors import DtypeMismatch, ShapeMismatch
from node.wire.arrays import bf16_bits, bf16_values


def hbm(name: str, *shape: int, dtype: str = "fp32") -> Buffer:
    return Buffer("gpu0", "hbm", name, dtype, shape)


X, Y, TOTAL = (hbm(name, 4) for name in ("x", "y", "total"))
ONES = np.ones(4, np.float32)


def adding() -> Plan:
    """total = x + total."""
    build = PlanBuilder("adding")
    build.kernel("add", "gpu0", [X, TOTAL], [TOTAL])
    return build.plan()


def collect(toy, program, **settings):
    """Runs `program(run, seen)` locally; gives the outcome and what it saw."""
    seen = []
    return run_local(toy(), [lambda run: program(run, seen)], **settings), seen


def test_values_are_computed_and_time_is_virtual(toy) -> None:
    drive = Buffer("drive", "flash", "x", "fp32", (4,))
    build = PlanBuilder("there and back")
    build.transfer(X, drive)
    build.transfer(drive, Y)
    build.kernel("scale", "gpu0", [Y], [Y], factor=3.0)
    plan = build.plan()

    def program(run, seen):
        run.place(X, np.arange(4, dtype=np.float32))
        run.place(drive)
        run.place(Y)
        done = yield run.submit(plan)
        seen += [done.end_at, (yield run.fetch(Y)), (yield run.fetch(X.rows(1, 3)))]

    outcome, (end_at, y, x) = collect(toy, program)
    assert y.tolist() == [0, 3, 6, 9] and x.tolist() == [1, 2]
    virtual = run_virtual(toy(), [lambda run: program(run, [])])
    assert outcome.time_s == virtual.time_s == end_at > 1e-4
    assert outcome.peak_bytes == virtual.peak_bytes
    assert outcome.flash == virtual.flash


def test_content_arrives_and_an_array_that_was_fetched_stays(toy) -> None:
    def program(run, seen):
        run.place(X, lambda: ONES)
        run.place(TOTAL, np.zeros(4, np.float32))
        yield run.submit(adding())
        seen.append((yield run.fetch(TOTAL)))
        run.write(X, 5 * ONES)
        yield run.submit(adding())
        seen.append((yield run.fetch(TOTAL)))
        run.release(X)
        run.place(X)
        seen.append((yield run.fetch(X)))

    _, (first, second, fresh) = collect(toy, program)
    assert (first == 1).all() and (second == 6).all() and np.isnan(fresh).all()


@pytest.mark.parametrize(("blank", "expected"), [(0.0, [0.0, 0, False, 0]), (np.nan, [np.nan, -1, True, 255])])
def test_what_is_declared_as_written_is_blank(toy, blank: float, expected: list[float]) -> None:
    buffers = [hbm(dtype, 2, dtype=dtype) for dtype in ("fp16", "int64", "bool", "fp8")]

    def program(run, seen):
        for buffer in buffers:
            run.place(buffer, written=True)
            seen.append((yield run.fetch(buffer)))

    _, seen = collect(toy, program, blank=blank)
    np.testing.assert_array_equal([values[0] for values in seen], expected)


def test_reading_what_nobody_wrote_is_an_error(toy) -> None:
    def program(run, seen):
        run.place(X)
        run.place(TOTAL, ONES)
        yield run.submit(adding())

    with pytest.raises(UnwrittenRead, match=r"'adding', op 0 reads gpu0\.hbm/x, which has no content"):
        collect(toy, program)


def test_a_part_that_nobody_wrote_shows_in_the_values(toy) -> None:
    half, out = hbm("half", 2), hbm("out", 4)
    build = PlanBuilder("half")
    build.transfer(half, X.rows(0, 2))
    build.kernel("scale", "gpu0", [X], [out], factor=1.0)

    def program(run, seen):
        run.place(half, ONES[:2])
        for buffer in (X, out):
            run.place(buffer)
        yield run.submit(build.plan())
        seen.append((yield run.fetch(out)))

    _, (values,) = collect(toy, program)
    np.testing.assert_array_equal(values, [1, 1, np.nan, np.nan])


def test_a_full_tier_is_the_outcome_that_the_virtual_run_has(toy) -> None:
    large = hbm("large", 10**9 // 4)

    def program(run, seen):
        run.place(X, ONES)
        run.place(large)
        yield run.delay(1.0)

    outcome, _ = collect(toy, program)
    virtual = run_virtual(toy(), [lambda run: program(run, [])])
    assert outcome.ended == virtual.ended
    assert outcome.ended.startswith("OOM at gpu0.hbm: 16 bytes missing")
    assert outcome.shortages == virtual.shortages is not None


def test_allocations_of_a_plan_come_and_go(toy) -> None:
    made, passing = hbm("made", 4), hbm("passing", 4)
    build = PlanBuilder("allocating")
    for buffer in (passing, made):
        build.alloc(buffer)
    build.kernel("scale", "gpu0", [X], [passing], factor=2.0)
    build.kernel("scale", "gpu0", [passing], [made], factor=2.0)
    build.free(passing)
    build.free(X)

    def program(run):
        run.place(X, ONES)
        yield run.submit(build.plan())

    run = LocalRun(toy())
    assert run.run([program]).ok
    assert run.memory.buffers == (made,)
    assert run.memory.read(made).tolist() == [4] * 4
    assert run.occupancy.used_bytes["gpu0", "hbm"] == made.nbytes


def test_repeating_computes_every_time(toy) -> None:
    def program(run, seen):
        run.place(X, ONES)
        run.place(TOTAL, 0 * ONES)
        done = yield run.submit(adding())
        yield run.repeat(done, 3)
        seen.append((yield run.fetch(TOTAL)))
        yield run.submit(adding())
        yield run.repeat(done, 1)

    seen = []
    with pytest.raises(BadWait, match="did not end last and alone"):
        run_local(toy(), [lambda run: program(run, seen)])
    assert (seen[0] == 4).all()


def test_a_cancelled_plan_leaves_none_of_its_allocations(toy) -> None:
    scratch = hbm("scratch", 4)
    build = PlanBuilder("taking")
    build.alloc(scratch)
    build.kernel("scale", "gpu0", [X], [scratch], factor=1.0)
    plan = build.plan()

    def program(run):
        run.place(X, ONES)
        ticket = run.submit(plan)
        ended = yield wait_any(ticket, run.delay(0.0))
        assert ticket not in ended
        run.cancel(ticket)
        done = yield ticket
        assert done.cancelled
        assert run.memory.buffers == (X,)
        ticket = run.submit(plan)
        yield ticket
        run.cancel(ticket)  # it has ended: nothing changes
        assert run.memory.buffers == (X, scratch)
        run.release(scratch)

    assert run_local(toy(), [program]).ok


def test_programs_wait_for_each_other_as_on_the_virtual_clock(toy) -> None:
    order: list[str] = []

    def first(run):
        run.place(X, ONES)
        run.place(TOTAL, 0 * ONES)
        ready = run.event("ready")
        order.append("waiting")
        events.append(ready)
        assert (yield ready) == "go"
        done = yield wait_all(run.submit(adding()), run.delay(0.25))
        assert done[0].end_at < run.now == approx(0.75)
        order.append("added")
        assert not run.faults().is_set

    def second(run):
        yield run.delay(0.5)
        order.append("telling")
        events[0].set("go")

    events = []
    assert run_local(toy(), [first, second]).time_s == approx(0.75)
    assert order == ["waiting", "telling", "added"]


def test_transfers_copy_bytes_whatever_their_types_and_add_up_in_the_network(toy) -> None:
    bits, other = hbm("bits", 4, dtype="int32"), Buffer("gpu1", "hbm", "other", "fp32", (4,))
    build = PlanBuilder("bits")
    build.transfer(X, bits)
    build.transfer(X.rows(0, 3), View(X, 4, (3,)))
    build.transfer(X, [Y, other])
    run = LocalRun(toy())
    for buffer in (X, Y, other, bits):
        run.memory.place(buffer, np.arange(4, dtype=np.float32) if buffer == X else None)
    run.memory.run(build.plan(), {})
    assert run.memory.read(bits).view(np.float32).tolist() == [0, 1, 2, 3]
    assert run.memory.read(X).tolist() == run.memory.read(Y).tolist() == run.memory.read(other).tolist() == [0, 0, 1, 2]
    assert run.memory.read_bytes == {("gpu0", "hbm"): 16 + 12 + 16}
    assert run.memory.written_bytes == {("gpu0", "hbm"): 16 + 12 + 16, ("gpu1", "hbm"): 16}
    total = Transfer((X.view(), other.view()), (Y.view(), other.view()), reduction="sum")
    run.memory.run(Plan("sum", (total,), ((),)), {})
    assert run.memory.read(Y).tolist() == run.memory.read(other).tolist() == [0, 0, 2, 4]


def test_open_sizes_are_bound_at_every_submission(toy) -> None:
    count = symbol("count")
    build = PlanBuilder("part")
    build.transfer(View(X, 0, (count,)), View(Y, 0, (count,)))
    plan = build.plan()

    def program(run, seen):
        run.place(X, ONES)
        run.place(Y, 0 * ONES)
        for size in (1, 3):
            yield run.submit(plan, count=size)
            seen.append((yield run.fetch(Y)).sum())

    assert collect(toy, program)[1] == [1, 3]


def test_a_missing_edge_shows_when_ops_run_backwards() -> None:
    """Edges of one's own that leave out an order: program order hides it, the other one does not."""
    build = PlanBuilder("chain")
    build.kernel("scale", "gpu0", [X], [Y], factor=2.0)
    build.kernel("scale", "gpu0", [Y], [TOTAL], factor=2.0)
    whole = build.plan()
    wrong = Plan("chain", whole.ops, ((), ()))
    for plan, backwards, right in ((whole, True, True), (wrong, False, True), (wrong, True, False)):
        memory = LocalMemory(backwards=backwards)
        for buffer in (X, Y, TOTAL):
            memory.place(buffer, ONES if buffer == X else None)
        memory.run(plan, {})
        assert (memory.read(TOTAL).tolist() == [4] * 4) is right


def test_bf16_is_seen_as_bits_and_written_as_bits_or_numbers(toy) -> None:
    half = hbm("half", 4, dtype="bf16")
    values = np.array([1.0, 1.00390625, -2.5, 3e38], np.float32)

    def program(run, seen):
        for content in (values, bf16_bits(values)):
            run.place(half, content)
            seen.append((yield run.fetch(half)))
            run.release(half)

    _, seen = collect(toy, program)
    for found in seen:
        np.testing.assert_array_equal(found, bf16_bits(values))
        assert bf16_values(found)[2] == -2.5


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (np.ones(4), DtypeMismatch, "holds fp32, written as float32; the array is float64; convert it first"),
        (np.ones(3, np.float32), ShapeMismatch, r"has the shape \(4,\), its content \(3,\); give it 4 elements"),
    ],
)
def test_content_that_does_not_fit_is_refused(toy, content, error, said: str) -> None:
    def program(run, seen):
        run.place(X, content)
        yield run.delay(0.0)

    with pytest.raises(error, match=said):
        collect(toy, program)


def test_a_kernel_that_refuses_its_values_is_named(toy) -> None:
    table, ids, out = hbm("table", 3, 2), hbm("ids", 1, dtype="int64"), hbm("out", 1, 2)
    build = PlanBuilder("looking up")
    build.kernel("gather", "gpu0", [table, ids], [out], label="embed")

    def program(run, seen):
        run.place(table, np.ones((3, 2), np.float32))
        run.place(ids, np.array([7]))
        run.place(out)
        yield run.submit(build.plan())

    with pytest.raises(KernelFailed, match="plan 'looking up', embed on gpu0 at gpu0: OutOfRange") as caught:
        collect(toy, program)
    assert (caught.value.device, caught.value.plan) == ("gpu0", "looking up")


def test_what_is_not_there_is_refused(toy) -> None:
    def program(run, seen):
        run.release(X)
        yield run.delay(0.0)

    with pytest.raises(DoubleFree, match="was not there"):
        collect(toy, program)


def test_phases_figures_progress_and_the_timeline_are_kept(toy) -> None:
    told, trace = [], Trace()

    def program(run, seen):
        assert run.live
        run.place(X, ONES)
        run.place(TOTAL, ONES)
        yield run.submit(adding())
        run.mark("adding")
        run.progress(1, 1, "added")
        run.figure("sum", (yield run.fetch(TOTAL)).sum())

    outcome, _ = collect(toy, program, trace=trace, progress=lambda *what: told.append(what))
    assert list(outcome.phases) == ["adding"] and outcome.figures == {"sum": 8.0} and told == [(1, 1, "added")]
    assert {span.name for span in trace.spans} == {"add"}
    assert outcome.wall_s > 0


def test_torch_is_imported_by_the_first_run_alone() -> None:
    script = "import sys, controller.execute.local; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
