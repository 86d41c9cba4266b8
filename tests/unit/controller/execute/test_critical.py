"""The explanation of a run, on plans whose critical path is known by hand."""

from __future__ import annotations

import pytest

from controller.execute.critical import Explanation, PathEntry, PathRecord
from controller.execute.path_facts import place_of
from controller.execute.path_shares import path_shares
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer
from controller.program.run import Program, Run
from controller.topology.loader import load_topology

MIB = 1 << 20


def explained(emit, repeat: int = 1):
    topology = load_topology("a6000_ssd")
    build = PlanBuilder("case")
    source = Buffer("cpu", "dram", "source", "uint8", (64 * MIB,))
    target = Buffer("gpu", "hbm", "target", "uint8", (64 * MIB,))
    emit(build, source, target)
    plan = build.plan()

    def program(run: Run) -> Program:
        run.place(source, written=True)
        run.place(target, written=True)
        for _ in range(repeat):
            yield run.submit(plan)

    record = PathRecord()
    outcome = run_virtual(topology, [program], record=record)
    return outcome, record.explain()


def test_a_chain_of_two_is_the_whole_run_and_the_transfer_is_exposed() -> None:
    def emit(build, source, target) -> None:
        build.transfer(source, target, label="load")
        build.kernel("delay", "gpu", [], [], after=(0,), seconds=0.25)

    outcome, why = explained(emit)
    assert why.path_s == pytest.approx(outcome.time_s, rel=1e-9)
    assert why.exposed_s == pytest.approx(why.transfer_s)
    assert next(entry.kind for entry in why.path) == "compute"
    assert {entry.label for entry in why.path} >= {"load", "delay"}


def test_a_transfer_beside_a_longer_kernel_is_hidden_and_not_on_the_path() -> None:
    def emit(build, source, target) -> None:
        build.kernel("delay", "gpu", [], [], seconds=0.25)
        build.transfer(source, target, label="load")

    outcome, why = explained(emit)
    assert "load" not in {entry.label for entry in why.path}
    assert why.hidden_s > 0.9 * why.transfer_s
    assert why.path_s == pytest.approx(outcome.time_s, rel=1e-9)


def test_plans_one_after_the_other_make_one_path() -> None:
    def emit(build, source, target) -> None:
        build.transfer(source, target, label="load")

    outcome, why = explained(emit, repeat=3)
    assert [(entry.label, entry.count) for entry in why.path] == [("load", 3)]
    assert why.path_s == pytest.approx(outcome.time_s, rel=1e-9)


def test_what_shares_a_link_takes_longer_than_alone() -> None:
    topology = load_topology("a6000_ssd")
    build = PlanBuilder("two")
    pairs = [
        (
            Buffer("cpu", "dram", f"s{i}", "uint8", (64 * MIB,)),
            Buffer("gpu", "hbm", f"t{i}", "uint8", (64 * MIB,)),
        )
        for i in range(2)
    ]
    for source, target in pairs:
        build.transfer(source, target, label="load")
    plan = build.plan()

    def program(run: Run) -> Program:
        for pair in pairs:
            for buffer in pair:
                run.place(buffer, written=True)
        yield run.submit(plan)

    record = PathRecord()
    run_virtual(topology, [program], record=record)
    (entry,) = record.explain().path
    assert entry.count == 1
    assert entry.time_s > 1.5 * entry.alone_s


def _shares(program):
    record = PathRecord()
    outcome = run_virtual(load_topology("a6000_ssd"), [program], record=record)
    return outcome, path_shares(record.explain(), outcome.time_s)


def _load(rate: float = 0.0):
    build = PlanBuilder("load")
    source = Buffer("cpu", "dram", "source", "uint8", (64 * MIB,))
    target = Buffer("gpu", "hbm", "target", "uint8", (64 * MIB,))
    build.transfer(source, target, label="load", rate_limit_bytes_per_s=rate)
    return source, target, build.plan()


def test_a_software_path_slower_than_the_hardware_is_the_resource() -> None:
    source, target, plan = _load(rate=1e9)

    def program(run: Run) -> Program:
        run.place(source, written=True)
        run.place(target, written=True)
        yield run.submit(plan)

    _, (only,) = _shares(program)
    assert (only.label, only.resource) == ("load", "software path")
    assert only.share == pytest.approx(1)


def test_what_a_path_without_software_fills_is_the_resource() -> None:
    source, target, plan = _load()

    def program(run: Run) -> Program:
        run.place(source, written=True)
        run.place(target, written=True)
        yield run.submit(plan)

    topology = load_topology("a6000_ssd")
    _, (only,) = _shares(program)
    capacity = {place_of(each): each.capacity for each in Fabric(topology).resources}
    on_the_way = [name for name in capacity if "gpu.pcie" in name or "cpu.pcie" in name]
    assert only.resource in on_the_way


def test_pauses_and_repetitions_of_a_program_are_on_the_path() -> None:
    source, target, plan = _load()

    def program(run: Run) -> Program:
        run.place(source, written=True)
        run.place(target, written=True)
        yield run.delay(0.5)
        done = yield run.submit(plan)
        yield run.repeat(done, 3)

    outcome, shares = _shares(program)
    times = {share.label: share.time_s for share in shares}
    assert times["delay"] == pytest.approx(0.5)
    assert times["load"] == pytest.approx(outcome.time_s - 0.5)
    assert "between plans" not in times


def test_repetitions_count_as_time_of_computing_and_of_transferring() -> None:
    source, target, plan = _load()

    def explained(times: int) -> Explanation:
        def program(run: Run) -> Program:
            run.place(source, written=True)
            run.place(target, written=True)
            done = yield run.submit(plan)
            yield run.repeat(done, times)

        record = PathRecord()
        run_virtual(load_topology("a6000_ssd"), [program], record=record)
        return record.explain()

    once, four = explained(0), explained(3)
    assert once.transfer_s > 0
    for name in ("compute_s", "transfer_s", "exposed_s", "hidden_s", "path_s"):
        assert getattr(four, name) == pytest.approx(4 * getattr(once, name))


def test_devices_of_a_kind_that_take_turns_are_one_line() -> None:
    def entry(resource: str, time_s: float) -> PathEntry:
        return PathEntry("compute", "x", "read", resource, 1, time_s, time_s)

    path = (entry("csd0.flash", 2.0), entry("csd1.flash", 1.0), entry("gpu.hbm", 0.5))
    shares = path_shares(Explanation(path, 3.5, 0.0, 0.0, 0.0), 4.0)
    assert [(share.resource, share.time_s) for share in shares] == [("csd*.flash", 3.0), ("gpu.hbm", 0.5), ("", 0.5)]
    assert shares[-1].label == "between plans"


def test_a_repetition_is_of_the_plan_and_not_of_a_pause_after_it() -> None:
    source, target, plan = _load()

    def program(run: Run) -> Program:
        run.place(source, written=True)
        run.place(target, written=True)
        done = yield run.submit(plan)
        yield run.delay(0.5)
        yield run.repeat(done, 3)

    outcome, shares = _shares(program)
    times = {share.label: share.time_s for share in shares}
    assert times["load"] == pytest.approx(outcome.time_s - 0.5)
    assert times["delay"] == pytest.approx(0.5)
