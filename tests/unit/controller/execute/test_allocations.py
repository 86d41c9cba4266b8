"""How full tiers get: allocations inside plans, plans beside each other, and what does not fit. A tier holds 1 GB."""

import pytest
from pytest import approx

from controller.errors import DoubleFree, OutOfMemory
from controller.execute.occupancy import Occupancy
from controller.execute.survey import survey
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan

MS = 1e-3
MB = 1_000_000
HBM = ("gpu0", "hbm")


def hbm(name: str, megabytes: int) -> Buffer:
    return Buffer("gpu0", "hbm", name, "uint8", (megabytes * MB,))


def kernel(build: PlanBuilder, target: Buffer, queue: str = "stream", milliseconds: float = 1.0) -> None:
    """Writes `target` by a copy of 1 ms and more: a delay in front of it on its queue."""
    build.kernel("delay", "gpu0", [], [], queue=queue, seconds=milliseconds * MS)
    build.kernel("copy", "gpu0", [hbm("source", 100).rows(0, 1)], [target.rows(0, 1)], queue=queue, label=target.name)


def temporary(name: str, megabytes: int, queue: str = "stream") -> Plan:
    """Allocates, writes and frees one buffer: about 1 ms."""
    build, buffer = PlanBuilder(f"with {name}"), hbm(name, megabytes)
    build.alloc(buffer)
    kernel(build, buffer, queue)
    build.free(buffer)
    return build.plan()


def program(*plans: Plan, placed: tuple[Buffer, ...] = (hbm("source", 100),)):
    def go(run):
        for buffer in placed:
            run.place(buffer, written=True)
        for plan in plans:
            yield run.submit(plan)

    return go


def test_room_inside_a_plan_comes_and_goes(toy) -> None:
    plan = temporary("t", 900)
    outcome = run_virtual(toy(), [program(plan, plan, temporary("u", 800))])
    assert outcome.ok
    assert outcome.peak_bytes == {"gpu0.hbm": 1000 * MB}


def test_an_allocation_waits_for_the_free_that_makes_room(toy) -> None:
    """Two independent temporaries of 1 ms each: side by side where both fit, one after the other where they do not."""

    def both(megabytes: int) -> tuple[float, int]:
        build = PlanBuilder("two")
        for name, queue in (("a", "stream"), ("b", "side")):
            here = build.alloc(hbm(name, megabytes))
            used = build.kernel("delay", "gpu0", [], [], queue=queue, seconds=1 * MS, after=[here])
            build.free(hbm(name, megabytes), after=[used])
        outcome = run_virtual(toy(), [program(build.plan())])
        return outcome.time_s, outcome.peak_bytes["gpu0.hbm"] // MB

    assert both(400) == (approx(1 * MS), 900)
    assert both(500) == (approx(2 * MS), 600)


def test_the_same_plan_again_is_not_compiled_again(toy) -> None:
    templates = []

    def go(run):
        run.place(hbm("source", 100), written=True)
        build = PlanBuilder("tight")
        for name in ("a", "b"):
            build.alloc(hbm(name, 800))
            kernel(build, hbm(name, 800))
            build.free(hbm(name, 800))
        plan = build.plan()
        for _ in range(3):
            ticket = run.submit(plan)
            templates.append(run.plan_of(ticket))
            yield ticket

    run_virtual(toy(), [go])
    assert templates[0] is templates[1] is templates[2]
    assert templates[0].after[4] == (3,), "the second allocation follows the first free"


def test_what_a_plan_keeps_stays_until_it_is_released(toy) -> None:
    build = PlanBuilder("keep")
    build.alloc(hbm("kept", 600))
    kernel(build, hbm("kept", 600))

    def go(run):
        run.place(hbm("source", 100), written=True)
        yield run.submit(build.plan())
        with pytest.raises(OutOfMemory):
            run.place(hbm("more", 400))
        run.release(hbm("kept", 600))
        run.place(hbm("more", 400))

    assert run_virtual(toy(), [go]).peak_bytes == {"gpu0.hbm": 700 * MB}


def test_a_plan_may_free_what_was_placed_before_and_take_its_room(toy) -> None:
    build = PlanBuilder("replace")
    build.free(hbm("old", 800))
    build.alloc(hbm("new", 850))
    kernel(build, hbm("new", 850))

    def go(run):
        run.place(hbm("source", 100), written=True)
        run.place(hbm("old", 800), written=True)
        yield run.submit(build.plan())
        run.release(hbm("new", 850))
        with pytest.raises(DoubleFree):
            run.release(hbm("old", 800))

    outcome = run_virtual(toy(), [go])
    assert outcome.peak_bytes == {"gpu0.hbm": 950 * MB}
    assert survey(toy(), [go]).peak_bytes == {HBM: 950 * MB}


def test_a_buffer_may_have_a_second_life_in_a_plan(toy) -> None:
    build = PlanBuilder("again")
    build.free(hbm("x", 700))
    build.alloc(hbm("x", 700))
    kernel(build, hbm("x", 700))

    def go(run):
        run.place(hbm("source", 100), written=True)
        run.place(hbm("x", 700), written=True)
        yield run.submit(build.plan())
        run.release(hbm("x", 700))

    assert run_virtual(toy(), [go]).peak_bytes == {"gpu0.hbm": 800 * MB}


@pytest.mark.parametrize("execute", [run_virtual, survey])
def test_lives_that_cannot_be(toy, execute) -> None:
    def refused(build: PlanBuilder, *placed: Buffer) -> str:
        with pytest.raises(DoubleFree) as caught:
            execute(toy(), [program(build.plan(), placed=placed)])
        return str(caught.value)

    build = PlanBuilder("stranger")
    build.free(hbm("x", 1))
    assert "frees gpu0.hbm/x, which is not there" in refused(build)
    build = PlanBuilder("twin")
    build.alloc(hbm("x", 1))
    build.free(hbm("x", 1))
    assert "already there" in refused(build, hbm("x", 1))


def test_plans_side_by_side_are_there_at_the_same_time(toy) -> None:
    """Each takes 500 MB for a moment; nothing keeps the moments apart, so both count."""
    first, second = temporary("a", 500), temporary("b", 500, "side")
    source = hbm("source", 100)
    outcome = run_virtual(toy(), [program(first), program(second, placed=())])
    assert outcome.ended.startswith("OOM at gpu0.hbm: 100000000 bytes missing")
    smaller = program(temporary("b", 400, "side"), placed=())
    assert run_virtual(toy(), [program(first, placed=(source,)), smaller]).peak_bytes == {"gpu0.hbm": 1000 * MB}
    one_after_the_other = program(first, second)
    assert run_virtual(toy(), [one_after_the_other]).peak_bytes == {"gpu0.hbm": 600 * MB}


def test_one_buffer_is_not_there_twice(toy) -> None:
    """The same plan beside itself would allocate one name twice; after itself it is fine."""
    plan = temporary("t", 100)
    with pytest.raises(DoubleFree, match="already there"):
        run_virtual(toy(), [program(plan), program(plan, placed=())])
    assert run_virtual(toy(), [program(plan, plan)]).ok


def test_running_out_of_memory_is_an_outcome(toy) -> None:
    def go(run):
        yield run.delay(2 * MS)
        run.place(hbm("weights", 700))
        run.place(hbm("cache", 400))

    outcome = run_virtual(toy(), [go])
    assert not outcome.ok
    assert (
        outcome.ended
        == "OOM at gpu0.hbm: 100000000 bytes missing (cache needs 400000000, 300000000 free of 1000000000)"
    )
    assert outcome.results == ()
    assert outcome.reports() == {
        "out_of_memory": [
            {
                "device": "gpu0",
                "tier": "hbm",
                "need_bytes": 1100 * MB,
                "missing_bytes": 100 * MB,
                "capacity_bytes": 1000 * MB,
            }
        ],
        "overflow": {
            "what": "cache",
            "need_bytes": 400 * MB,
            "line": f"{__file__}:{go.__code__.co_firstlineno + 3}",
        },
    }
    assert outcome.time_s == approx(2 * MS)
    assert outcome.peak_bytes == {"gpu0.hbm": 700 * MB}


def test_running_out_inside_a_plan(toy) -> None:
    outcome = run_virtual(toy(), [program(temporary("t", 950))])
    assert outcome.ended == "OOM at gpu0.hbm: 50000000 bytes missing (t needs 950000000, 900000000 free of 1000000000)"


def test_a_larger_tier_is_an_override_away(toy) -> None:
    assert run_virtual(toy("gpu.hbm.capacity=1050 MB"), [program(temporary("t", 950))]).ok


def test_levels_of_a_trace_return_to_where_they_were(toy) -> None:
    trace = Trace()
    run_virtual(toy(), [program(temporary("t", 300))], trace=trace)
    assert [(level.used_bytes // MB, level.at) for level in trace.levels] == [
        (100, 0.0),
        (400, 0.0),
        (100, approx(1 * MS, rel=1e-3)),
    ]


def test_occupancy_counts_exact_bytes(toy) -> None:
    occupancy = Occupancy(toy())
    odd = Buffer("gpu0", "hbm", "odd", "fp16", (3, 7))
    occupancy.take(odd, written=False, now=0.0)
    assert occupancy.used_bytes[HBM] == 42
    occupancy.give(odd, now=0.0)
    assert (occupancy.used_bytes[HBM], occupancy.peak_bytes[HBM]) == (0, 42)
