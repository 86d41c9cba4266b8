"""Drawn clusters and plans on the virtual clock: whatever is drawn, these things hold.

A failure names its seed. ``python tests/sim/test_virtual.py SEED`` replays it, ``FIRST:LAST`` runs many.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from controller.execute.costs import Costs
from controller.execute.outcome import Outcome
from controller.execute.trace import Trace
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.plan.bound import view_bytes
from controller.plan.check import check_plan
from controller.plan.ops import Alloc, Free, Kernel, Transfer
from controller.topology.graph import routes_of

SEEDS = range(80)
NEAR = 1e-9
"""Relative; sums of a thousand terms in another order differ by less."""


def _load_drawn():
    """The module beside this one; tests are no package."""
    spec = importlib.util.spec_from_file_location("drawn", Path(__file__).with_name("drawn.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["drawn"] = module
    spec.loader.exec_module(module)
    return module


draw = _load_drawn().draw


def check(seed: int) -> None:
    """Runs the simulation of a seed and checks every invariant."""
    drawn = draw(seed)
    check_plan(drawn.plan, drawn.topology)
    trace, times = Trace(), []
    for recorder in (trace, None):
        outcome = run_virtual(drawn.topology, [program(drawn, i) for i in range(drawn.programs)], trace=recorder)
        assert outcome.ok, outcome.ended
        times.append(outcome.time_s)
    assert times[0] == times[1], "the same run gives the same time to the last bit, traced or not"
    resources_add_up(drawn, outcome)
    bounds_hold(drawn, outcome)
    if drawn.programs == drawn.times == 1:
        order_holds(drawn, trace)


def program(drawn, number: int):
    def go(run):
        if number == 0:
            for buffer in drawn.placed:
                run.place(buffer, written=True)
        for _ in range(drawn.times):
            yield run.submit(drawn.plan)

    return go


def resources_add_up(drawn, outcome: Outcome) -> None:
    """Bytes on every link are the sum of the transfers that pass it, and nothing was busier than always."""
    expected: dict[str, float] = defaultdict(float)
    routes, runs = routes_of(drawn.topology), drawn.programs * drawn.times
    for op in drawn.plan.ops:
        if isinstance(op, Transfer):
            for target in op.destinations:
                for hop in routes.route(op.sources[0].buffer.device, target.buffer.device).hops:
                    name = f"{hop.link.name}{'>' if hop.forward else '<'}"
                    expected[name] += runs * view_bytes(op.sources[0], {})
    found = {use.name: use.amount for use in outcome.resources if use.kind == "link"}
    assert found == pytest.approx(dict(expected), rel=NEAR)
    for use in outcome.resources:
        if use.kind != "queue":
            assert use.busy_s <= outcome.time_s * (1 + NEAR), f"{use.name} did more than it can"


def alone_s(drawn) -> list[float]:
    """How long each op takes with nothing beside it."""
    fabric = Fabric(drawn.topology)
    costs = Costs(drawn.topology, fabric)
    durations: list[float] = []
    for op in drawn.plan.ops:
        if isinstance(op, Kernel):
            cost = costs.of_kernel(op, {})
            durations.append(cost.latency_s + (cost.work / costs.alone_bytes_per_s(cost) if cost.work else 0.0))
        elif isinstance(op, Transfer):
            each = [costs.of_transfer(op, number, {}) for number in range(len(op.destinations))]
            durations.append(max(cost.latency_s + cost.work / costs.alone_bytes_per_s(cost) for cost in each))
        else:
            durations.append(0.0)
    return durations


def bounds_hold(drawn, outcome: Outcome) -> None:
    """Not faster than the longest chain alone; not slower than everything one after the other.

    The upper bound is exact reasoning, not a tolerance: while anything is left, a full resource or an op at its own
    limit makes progress worth at least one second of somebody's time alone in each second.
    """
    durations, plan = alone_s(drawn), drawn.plan
    ends: list[float] = []
    for index, after in enumerate(plan.after):
        ends.append(durations[index] + max((ends[earlier] for earlier in after), default=0.0))
    assert outcome.time_s >= drawn.times * max(ends, default=0.0) * (1 - NEAR)
    everything = launches = 0.0
    for op, duration in zip(plan.ops, durations, strict=True):
        everything += duration * (len(op.destinations) if isinstance(op, Transfer) else 1)
        if isinstance(op, Kernel):
            issue = drawn.topology.devices[op.device].spec.issue_queue
            launches += issue.launch_s if issue is not None else 0.0
    assert outcome.time_s <= drawn.programs * drawn.times * (everything + launches) * (1 + NEAR)


def order_holds(drawn, trace: Trace) -> None:
    """No op starts before its inputs, none is faster than alone, and queues keep their order and their slots."""
    plan, durations = drawn.plan, alone_s(drawn)
    starts, ends = {}, {}
    queued: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    for span in trace.spans:
        if span.name == "launch":
            continue
        index = int(span.name.removeprefix("op "))
        starts[index] = min(span.start_at, starts.get(index, span.start_at))
        ends[index] = max(span.end_at, ends.get(index, span.end_at))
        device = drawn.topology.devices.get(span.device)  # None: the fabric
        if device is not None and span.track in device.spec.queues:
            queued[span.device, span.track].append((index, span.start_at, span.end_at))

    def ended_at(index: int) -> float:
        """End of an op; one that leaves no span (an allocation, nothing to do) ends with what it waited for."""
        return ends[index] if index in ends else max(map(ended_at, plan.after[index]), default=0.0)

    for index, start in starts.items():
        ready = max(map(ended_at, plan.after[index]), default=0.0)
        assert start >= ready, f"op {index} starts at {start} s, its inputs are there at {ready} s"
        assert ends[index] - start >= durations[index] * (1 - NEAR) - 1e-15, f"op {index} is faster than alone"
    for (device, queue), entries in queued.items():
        slots = drawn.topology.devices[device].spec.queues[queue].slots
        begins = [start for _, start, _ in entries]
        assert begins == sorted(begins), f"{device}.{queue} does not keep its order"
        for _, start, end in entries:
            beside = sum(s <= start < e for _, s, e in entries)
            assert beside <= slots or start == end, f"{device}.{queue} runs {beside} ops in {slots} slots"
    counted = [op for op in plan.ops if not isinstance(op, Alloc | Free)]
    assert len(starts) <= len(counted)


@pytest.mark.parametrize("seed", SEEDS)
def test_invariants(seed: int) -> None:
    try:
        check(seed)
    except Exception as error:
        raise AssertionError(f"replay with: .venv/bin/python {Path(__file__)} {seed}\n{error}") from error


def test_the_seeds_are_not_all_alike() -> None:
    drawn = [draw(seed) for seed in SEEDS]
    sizes = {len(each.plan.ops) for each in drawn}
    assert len(sizes) > 15 and max(sizes) > 30
    assert {each.programs for each in drawn} == {each.times for each in drawn} == {1, 2}
    kinds = {type(op) for each in drawn for op in each.plan.ops}
    assert kinds == {Kernel, Transfer, Alloc, Free}


def main(words: list[str]) -> None:
    """Replays one seed or a range of them."""
    first, _, last = (words or [f"0:{len(SEEDS)}"])[0].partition(":")
    for seed in range(int(first), int(last) if last else int(first) + 1):
        check(seed)
        drawn = draw(seed)
        print(
            f"seed {seed}: {len(drawn.topology.devices)} devices, {len(drawn.plan.ops)} ops, {drawn.programs} programs"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
