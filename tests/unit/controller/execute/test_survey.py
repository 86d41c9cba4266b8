"""A survey finds every plan once, checks it, and fills the tiers as the executors do."""

import pytest

from controller.errors import UnorderedAccess
from controller.execute.survey import survey
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Kernel, Plan, View
from controller.plan.size import Affine
from controller.topology.loader import load_topology


def x(name: str, rows: int = 64) -> Buffer:
    return Buffer("gpu", "hbm", name, "fp32", (rows, 8))


def step() -> Plan:
    """relu twice, over a temporary of the plan's own."""
    build = PlanBuilder("step")
    own = x("own")
    build.alloc(own)
    build.kernel("activation", "gpu", [x("in")], [own], kind="relu")
    build.kernel("activation", "gpu", [own], [x("out")], kind="relu")
    build.free(own)
    return build.plan()


def decode(run):
    """Three steps of one plan, then a delay."""
    run.place(x("in"), written=True)
    run.place(x("out"))
    plan = step()
    for _ in range(3):
        yield run.submit(plan)
        assert (yield run.fetch(x("out"))) is None
    yield run.delay(5.0)


def test_a_plan_is_found_once_with_its_count():
    found = survey(load_topology("a6000_csd"), [decode])
    assert [(entry.plan.name, entry.submission_count, len(entry.plan.ops)) for entry in found.plans] == [("step", 3, 4)]
    assert [buffer.name for buffer in found.placed] == ["in", "out"]
    assert found.does_not_fit is None


def test_peaks_are_those_of_the_virtual_executor():
    from controller.execute.virtual import run_virtual

    topology = load_topology("a6000_csd")
    found = survey(topology, [decode])
    assert found.peak_bytes == {("gpu", "hbm"): 3 * 64 * 8 * 4}
    timed = run_virtual(topology, [decode])
    assert {f"{device}.{tier}": peak for (device, tier), peak in found.peak_bytes.items()} == dict(timed.peak_bytes)


def test_what_does_not_fit_is_said_with_the_missing_bytes():
    topology = load_topology("a6000_csd", ["gpu.hbm.capacity=4096 B"])
    error = survey(topology, [decode]).does_not_fit
    assert error is not None
    assert (error.device, error.tier, error.missing_bytes) == ("gpu", "hbm", 3 * 2048 - 4096)


def test_a_wrong_plan_is_refused():
    racing = Plan("race", (_relu("a", "b"), _relu("a", "b")), ((), ()))

    def program(run):
        run.place(x("a"), written=True)
        run.place(x("b"))
        yield run.submit(racing)

    with pytest.raises(UnorderedAccess):
        survey(load_topology("a6000_csd"), [program])


def _relu(source: str, destination: str) -> Kernel:
    return Kernel("activation", "gpu", (x(source).view(),), (x(destination).view(),), {"kind": "relu"})


def test_open_sizes_are_kept_from_first_to_last():
    build = PlanBuilder("open")
    parts = [View(x(name), 0, (Affine("rows", 1, 0), 8)) for name in ("in", "out")]
    build.kernel("activation", "gpu", parts[:1], parts[1:], kind="relu")
    plan = build.plan()

    def program(run):
        run.place(x("in"), written=True)
        run.place(x("out"))
        for rows in (1, 2, 7):
            yield run.submit(plan, rows=rows)

    (entry,) = survey(load_topology("a6000_csd"), [program]).plans
    assert (entry.first, entry.last) == ({"rows": 1}, {"rows": 7})


def test_steps_that_are_repeated_take_no_more_room():
    def repeated(run):
        run.place(x("in"), written=True)
        run.place(x("out"))
        done = yield run.submit(step())
        yield run.repeat(done, 99)

    once, found = survey(load_topology("a6000_csd"), [decode]), survey(load_topology("a6000_csd"), [repeated])
    assert found.peak_bytes == once.peak_bytes and found.plans[0].submission_count == 1
