"""Waits that compose, events between programs, cancelling and repeating, on the virtual clock."""

import pytest
from pytest import approx

from controller.errors import BadWait, Deadlock, DoubleFree, OutOfMemory
from controller.execute.critical import PathRecord
from controller.execute.survey import survey
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan
from controller.program.waits import wait_all, wait_any

MS = 1e-3
MB = 1_000_000


def delay_plan(milliseconds: float, queue: str = "stream") -> Plan:
    build = PlanBuilder(f"{milliseconds} ms")
    build.kernel("delay", "gpu0", [], [], queue=queue, seconds=milliseconds * MS)
    return build.plan()


def hbm(name: str, size: int = 10 * MB) -> Buffer:
    return Buffer("gpu0", "hbm", name, "fp32", (size // 4,))


def test_the_first_of_several_wins_and_the_rest_goes_on(toy) -> None:
    seen = []

    def program(run):
        long, short = run.submit(delay_plan(3)), run.submit(delay_plan(1, "side"))
        ended = yield wait_any(long, short)
        seen.append((tuple(ended) == (short,), ended[short].end_at, run.now))
        done = yield long
        seen.append((done.end_at, run.now))
        again = yield wait_all(long, short)  # both ended: no time passes
        seen.append(([each.end_at for each in again], run.now))

    assert run_virtual(toy(), [program]).time_s == approx(3 * MS)
    assert seen == [
        (True, approx(1 * MS), approx(1 * MS)),
        (approx(3 * MS), approx(3 * MS)),
        ([approx(3 * MS), approx(1 * MS)], approx(3 * MS)),
    ]


def test_what_happens_at_one_instant_is_told_together(toy) -> None:
    def program(run):
        one, other = run.submit(delay_plan(2)), run.submit(delay_plan(2, "side"))
        ended = yield wait_any(one, other, run.delay(5 * MS))
        assert set(ended) == {one, other}

    assert run_virtual(toy(), [program]).time_s == approx(2 * MS)


def test_a_pause_that_lost_takes_no_time(toy) -> None:
    def program(run):
        pause = run.delay(9 * MS)
        ended = yield wait_any(run.submit(delay_plan(1)), pause)
        assert pause not in ended

    assert run_virtual(toy(), [program]).time_s == approx(1 * MS)


def test_waits_nest(toy) -> None:
    def program(run):
        parts = wait_all(run.submit(delay_plan(2)), run.submit(delay_plan(4, "side")))
        timer = run.delay(3 * MS)
        ended = yield wait_any(parts, timer)
        assert tuple(ended) == (timer,)
        ended = yield wait_any(parts, run.delay(3 * MS))
        assert [each.end_at for each in ended[parts]] == [approx(2 * MS), approx(4 * MS)]

    assert run_virtual(toy(), [program]).time_s == approx(4 * MS)


def test_programs_tell_each_other(toy) -> None:
    heard, events = [], {}

    def listener(run):
        events["go"] = run.event("go")
        heard.append(((yield events["go"]), run.now))
        heard.append(((yield events["go"]), run.now))  # it has happened: goes on at once

    def late(run):
        yield run.delay(5 * MS)
        heard.append(((yield events["go"]), run.now))

    def speaker(run):
        yield run.submit(delay_plan(2))
        events["go"].set("now")
        events["go"].set("never heard")

    run_virtual(toy(), [listener, late, speaker])
    assert heard == [("now", approx(2 * MS)), ("now", approx(2 * MS)), ("now", approx(5 * MS))]


def test_an_event_that_nobody_can_set_is_a_deadlock(toy) -> None:
    def program(run):
        yield run.submit(delay_plan(1))
        yield wait_any(run.faults(), run.event("word from nobody"))

    with pytest.raises(Deadlock, match="word from nobody"):
        run_virtual(toy(), [program])


@pytest.mark.parametrize("wait", [wait_any(), wait_all(), wait_any(wait_all())])
def test_a_wait_for_nothing_is_refused(toy, wait) -> None:
    def program(run):
        yield wait

    with pytest.raises(BadWait, match="at least one"):
        run_virtual(toy(), [program])


def test_a_wait_with_something_else_in_it_is_refused(toy) -> None:
    def program(run):
        yield wait_any(run.submit(delay_plan(1)), 3)

    with pytest.raises(BadWait, match="int"):
        run_virtual(toy(), [program])


def test_a_cancelled_plan_ends_now_and_what_it_did_counts(toy) -> None:
    a, b = hbm("a", 100 * MB), hbm("b", 100 * MB)
    trace, record = Trace(), PathRecord()

    def program(run):
        run.place(a, written=True)
        run.place(b)
        build = PlanBuilder("copies")  # 1 ms each
        build.kernel("copy", "gpu0", [a], [b])
        build.kernel("copy", "gpu0", [b], [a])
        build.kernel("delay", "gpu0", [], [], seconds=50 * MS)
        ticket = run.submit(build.plan())
        pause = run.delay(1.5 * MS)
        yield wait_any(ticket, pause)
        run.cancel(ticket)
        done = yield ticket
        assert done.cancelled
        assert done.end_at == approx(1.5 * MS)
        run.cancel(ticket)  # it has ended: nothing happens
        yield run.submit(delay_plan(1))  # its queue is free

    outcome = run_virtual(toy(), [program], trace=trace, record=record)
    assert outcome.time_s == approx(2.5 * MS)
    counts = {entry.label: (entry.count, entry.time_s) for entry in outcome.op_times}
    assert counts == {"copy": (2, approx(1.5 * MS)), "delay": (1, approx(1 * MS))}
    read = next(use for use in outcome.resources if use.name == "gpu0.hbm.read")
    assert read.amount == approx(150 * MB)
    assert sum(entry.time_s for entry in record.explain().path) == approx(2.5 * MS)
    assert [span.name for span in trace.spans if span.track == "stream"] == ["copy", "copy", "delay"]


def test_whoever_waits_for_a_cancelled_plan_hears_of_it(toy) -> None:
    tickets, heard = [], []

    def waiting(run):
        tickets.append(run.submit(delay_plan(9)))
        done = yield tickets[0]
        heard.append((done.cancelled, run.now))

    def cancelling(run):
        yield run.delay(2 * MS)
        run.cancel(tickets[0])

    assert run_virtual(toy(), [waiting, cancelling]).time_s == approx(2 * MS)
    assert heard == [(True, approx(2 * MS))]


def test_a_cancelled_plan_gives_its_allocations_back(toy) -> None:
    capacity = toy().devices["gpu0"].spec.tiers["hbm"].capacity_bytes
    most = hbm("most", capacity - capacity % 4)

    def program(run):
        build = PlanBuilder("takes")
        build.alloc(most)
        build.kernel("delay", "gpu0", [], [], seconds=9 * MS)
        ticket = run.submit(build.plan())
        yield run.delay(1 * MS)
        with pytest.raises(OutOfMemory):
            run.place(hbm("more"))
        run.cancel(ticket)
        yield ticket
        run.place(most)
        with pytest.raises(DoubleFree):
            run.place(most)

    assert run_virtual(toy(), [program]).ok


def test_cancelled_before_anything_started(toy) -> None:
    def program(run):
        first = run.submit(delay_plan(3))
        second = run.submit(delay_plan(5))
        run.cancel(second)
        done = yield second
        assert (done.cancelled, done.end_at) == (True, 0.0)
        yield first

    outcome = run_virtual(toy(), [program])
    assert outcome.time_s == approx(3 * MS)
    assert [(entry.count, entry.time_s) for entry in outcome.op_times] == [(1, approx(3 * MS))]


def test_a_plan_is_repeated_only_when_it_ended_last_and_alone(toy) -> None:
    def good(run):
        done = yield run.submit(delay_plan(2))
        again = yield run.repeat(done, 3)
        assert again.end_at == approx(8 * MS)

    outcome = run_virtual(toy(), [good])
    assert outcome.time_s == approx(8 * MS)
    assert [(entry.count, entry.time_s) for entry in outcome.op_times] == [(4, approx(8 * MS))]

    def bad(run):
        done = yield run.submit(delay_plan(2))
        run.submit(delay_plan(2))
        yield run.repeat(done, 3)

    with pytest.raises(BadWait, match="alone"):
        run_virtual(toy(), [bad])


def test_a_survey_goes_the_same_way(toy) -> None:
    def program(run):
        ticket = run.submit(delay_plan(2))
        done = yield wait_any(ticket, run.delay(1 * MS))
        assert ticket in done
        yield run.repeat(done[ticket], 3)
        run.cancel(ticket)

    assert [entry.plan.name for entry in survey(toy(), [program]).plans] == ["2 ms"]


def test_an_event_that_a_loop_waits_for_is_told_once(toy) -> None:
    events = []

    def program(run):
        events.append(run.event("stop"))
        for _ in range(50):
            yield wait_any(run.submit(delay_plan(1)), events[0])

    run_virtual(toy(), [program])
    assert len(events[0].told) == 1
