"""Programs on the virtual clock: what they wait for, beside each other, and what they may not do."""

import pytest
from pytest import approx

from controller.errors import BadPlan, BadWait, Deadlock, DoubleFree, UnknownDevice, UnorderedAccess, UnwrittenRead
from controller.execute.survey import survey
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Free, Kernel, Plan, Transfer, View
from controller.plan.size import symbol

US, MS = 1e-6, 1e-3
MB = 1_000_000


def hbm(name: str, size: int = 10 * MB, device: str = "gpu0") -> Buffer:
    return Buffer(device, "hbm", name, "fp32", (size // 4,))


A, B = hbm("a"), hbm("b")


def delay_plan(milliseconds: float, queue: str = "stream") -> Plan:
    build = PlanBuilder(f"{milliseconds} ms")
    build.kernel("delay", "gpu0", [], [], queue=queue, seconds=milliseconds * MS)
    return build.plan()


def copy_plan(source: Buffer, target: Buffer) -> Plan:
    """0.1 ms."""
    build = PlanBuilder("copy")
    build.kernel("copy", "gpu0", [source], [target])
    return build.plan()


def test_a_program_goes_on_when_its_plan_has_ended(toy) -> None:
    seen = []

    def program(run):
        done = yield run.submit(delay_plan(3))
        seen.append((done.submitted_at, done.end_at, run.now))
        yield run.delay(2 * MS)
        done = yield run.submit(delay_plan(1))
        seen.append((done.submitted_at, done.end_at, run.now))

    assert run_virtual(toy(), [program]).time_s == approx(6 * MS)
    assert seen == [(0, approx(3 * MS), approx(3 * MS)), (approx(5 * MS), approx(6 * MS), approx(6 * MS))]


def test_programs_run_beside_each_other_and_share_the_queue(toy) -> None:
    order = []

    def one(name: str, plan: Plan, pause: float):
        def program(run):
            for _ in range(2):
                yield run.submit(plan)
                order.append((name, round(run.now / MS, 6)))
                yield run.delay(pause)

        return program

    # 3 ms on a stream of its own, and 2 ms with a pause of 3 ms on another.
    run_virtual(toy(), [one("a", delay_plan(3), 0.0), one("b", delay_plan(2, "side"), 3 * MS)])
    assert order == [("b", 2), ("a", 3), ("a", 6), ("b", 7)]
    order.clear()
    # On one stream they take turns in the order of submission.
    run_virtual(toy(), [one("a", delay_plan(3), 0.0), one("b", delay_plan(2), 2 * MS)])
    assert order == [("a", 3), ("b", 5), ("a", 8), ("b", 10)]


def test_several_plans_in_flight_of_one_program(toy) -> None:
    ends = []

    def program(run):
        long, short = run.submit(delay_plan(3)), run.submit(delay_plan(1, "side"))
        done = yield long
        ends.append((done.end_at, run.now))
        done = yield short  # ended long ago: goes on at once, and says when that was
        ends.append((done.end_at, run.now))

    run_virtual(toy(), [program])
    assert ends == [(approx(3 * MS), approx(3 * MS)), (approx(1 * MS), approx(3 * MS))]


def test_what_nobody_waits_for_takes_its_time_too(toy) -> None:
    def program(run):
        run.submit(delay_plan(7))
        yield run.submit(delay_plan(1, "side"))

    outcome = run_virtual(toy(), [program])
    assert outcome.time_s == approx(7 * MS)
    assert [(entry.label, entry.count, entry.time_s) for entry in outcome.op_times] == [("delay", 2, approx(8 * MS))]


def test_a_ticket_of_another_run_is_refused(toy) -> None:
    kept = []

    def first(run):
        kept.append(run.submit(delay_plan(1)))
        yield kept[0]

    def second(run):
        yield kept[0]

    run_virtual(toy(), [first])
    with pytest.raises(BadWait, match=r"1 ms.*never started"):
        run_virtual(toy(), [second])


def test_what_is_yielded_must_be_a_wish(toy) -> None:
    def wrong(run):
        yield 1.0

    with pytest.raises(BadWait, match="float"):
        run_virtual(toy(), [wrong])


def test_nothing_can_be_fetched_on_the_virtual_clock(toy) -> None:
    def program(run):
        run.place(A, written=True)
        assert (yield run.fetch(A)) is None
        assert (yield run.fetch(A.rows(0, 3))) is None
        assert not run.live

    assert run_virtual(toy(), [program]).time_s == 0


def test_phases_figures_and_notes(toy) -> None:
    def program(run):
        yield run.delay(1 * MS)
        run.mark("warm")
        yield run.delay(2 * MS)
        run.mark("hot")
        yield run.delay(3 * MS)
        run.mark("warm")
        run.figure("answer", 42)
        run.note("not what it was")

    outcome = run_virtual(toy(), [program])
    assert outcome.phases == {"warm": approx(4 * MS), "hot": approx(2 * MS)}
    assert outcome.reports() == {"answer": 42, "note": "not what it was"}
    assert outcome.ok


def test_progress_reaches_who_watches(toy) -> None:
    seen = []

    def program(run):
        run.progress(1, 2, "things")
        yield run.delay(0.0)

    run_virtual(toy(), [program], progress=lambda *what: seen.append(what))
    assert seen == [(1, 2, "things")]


def wrong(toy, error: type[Exception], *steps) -> str:
    """What is said when a program takes these steps."""

    def program(run):
        for step in steps:
            wish = step(run)
            if wish is not None:
                yield wish
        yield run.delay(0.0)

    texts = []
    for execute in (run_virtual, survey):
        with pytest.raises(error) as caught:
            execute(toy(), [program])
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    return texts[0]


def place(buffer: Buffer, written: bool = True):
    return lambda run: run.place(buffer, written=written)


def submit(plan: Plan):
    return lambda run: run.submit(plan)


def test_bytes_need_a_source(toy) -> None:
    assert "has no content" in wrong(toy, UnwrittenRead, place(A, False), place(B, False), submit(copy_plan(A, B)))
    assert "reads gpu0.hbm/a, which is not placed" in wrong(toy, UnwrittenRead, place(B), submit(copy_plan(A, B)))
    assert "writes gpu0.hbm/b" in wrong(toy, UnwrittenRead, place(A), submit(copy_plan(A, B)))
    assert "not placed" in wrong(toy, UnwrittenRead, lambda run: run.write(A, None))


def test_what_a_plan_wrote_may_be_read_by_the_next(toy) -> None:
    def program(run):
        run.place(A, written=True)
        run.place(B)
        yield run.submit(copy_plan(A, B))
        yield run.submit(copy_plan(B, A))

    assert run_virtual(toy(), [program]).ok


def test_placing_and_releasing_twice(toy) -> None:
    assert "placed twice" in wrong(toy, DoubleFree, place(A), place(A))
    assert "was not there" in wrong(toy, DoubleFree, lambda run: run.release(A))
    text = wrong(toy, UnknownDevice, place(Buffer("gpu0", "flash", "a", "fp32", (1,))))
    assert "gpu0.flash" in text and "drive.flash" in text


def test_a_released_buffer_is_gone(toy) -> None:
    plan = copy_plan(A, B)
    steps = [place(A), place(B), submit(plan), lambda run: run.release(B), submit(plan)]
    assert "not placed" in wrong(toy, UnwrittenRead, *steps)


def test_a_plan_of_ones_own_is_checked_before_it_runs(toy) -> None:
    racing = Plan("race", (_relu(A, B), _relu(A, B)), ((), ()))
    with pytest.raises(UnorderedAccess):
        run_virtual(toy(), [lambda run: _once(run, racing)])
    far = Buffer("cpu", "dram", "far", "fp32", (10 * MB // 4,))
    lost = Plan("lost", (Transfer((A.view(),), (far.view(),), queue="nowhere"),), ((),))
    with pytest.raises(UnknownDevice, match="nowhere"):
        run_virtual(toy(), [lambda run: _once(run, lost, far)])
    with pytest.raises(DoubleFree):
        run_virtual(toy(), [lambda run: _once(run, Plan("gone", (Free(A), _relu(A, B)), ((), (0,))))])


def _relu(source: Buffer, target: Buffer) -> Kernel:
    return Kernel("activation", "gpu0", (source.view(),), (target.view(),), {"kind": "relu"})


def _once(run, plan: Plan, *more: Buffer):
    for buffer in (A, B, *more):
        run.place(buffer, written=True)
    yield run.submit(plan)


def test_a_plan_kept_by_its_author_is_looked_at_anew_in_every_run(toy) -> None:
    """The second run places nothing, although the same plan was fine in the first."""
    plan = copy_plan(A, B)

    def careful(run):
        run.place(A, written=True)
        run.place(B)
        yield run.submit(plan)

    def careless(run):
        yield run.submit(plan)

    for _ in range(3):
        assert run_virtual(toy(), [careful]).ok
        with pytest.raises(UnwrittenRead):
            run_virtual(toy(), [careless])


def test_a_deadlock_names_the_plan(toy) -> None:
    """A transfer over a link that has failed for good."""
    build = PlanBuilder("stranded")
    far = Buffer("cpu", "dram", "far", "fp32", (10 * MB // 4,))
    build.transfer(A, far)

    def program(run):
        for buffer in (A, far):
            run.place(buffer, written=True)
        run.engine.set_capacity(run.fabric.resource_names.index("cpu.pcie-root<"), 0.0)
        yield run.submit(build.plan())

    with pytest.raises(Deadlock, match="stranded"):
        run_virtual(toy(), [program])


@pytest.mark.parametrize("pause", [-1.0, float("nan"), float("inf"), "x", True, 1e308])
def test_a_delay_is_a_time(toy, pause) -> None:
    def program(run):
        yield run.delay(pause)

    with pytest.raises(BadWait, match="number of seconds"):
        run_virtual(toy(), [program])


@pytest.mark.parametrize(
    "executor",
    [lambda cluster, program: run_virtual(cluster, [program]), lambda cluster, program: survey(cluster, [program])],
)
def test_a_buffer_in_use_is_not_released(toy, executor) -> None:
    def program(run):
        run.place(A, written=True)
        run.place(B)
        ticket = run.submit(copy_plan(A, B))
        run.release(A)
        yield ticket

    with pytest.raises(DoubleFree, match="yield the ticket"):
        executor(toy(), program)


def test_two_shapes_of_one_name_are_not_there_at_once(toy) -> None:
    def program(run):
        run.place(A)
        run.release(A)
        run.place(hbm("a", 40))
        run.place(A)
        yield run.delay(0)

    with pytest.raises(BadPlan, match="names of their own"):
        run_virtual(toy(), [program])


@pytest.mark.parametrize(("first", "then"), [(1, 5), (4, -1), (2, 2.5)])
def test_open_views_are_checked_at_every_binding(toy, first, then) -> None:
    source, target = Buffer("gpu0", "hbm", "s", "fp32", (4, 8)), Buffer("gpu0", "hbm", "t", "fp32", (4, 8))
    build = PlanBuilder("open")
    views = [View(each, 0, (symbol("n"), 8)) for each in (source, target)]
    build.kernel("copy", "gpu0", views[:1], views[1:])
    shifted = View(source, symbol("n") * 32 - 32, (1, 8))
    build.transfer(shifted, target.rows(0, 1))

    def program(run):
        run.place(source, written=True)
        run.place(target)
        plan = build.plan()
        yield run.submit(plan, n=first)
        yield run.submit(plan, n=then)

    with pytest.raises(BadPlan, match="open"):
        run_virtual(toy(), [program])
