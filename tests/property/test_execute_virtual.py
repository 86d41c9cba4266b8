"""What must hold for every plan on the virtual clock: conservation, monotony where it holds, scaling, no hidden order.

More bandwidth may make a whole DAG slower: a transfer that arrives earlier shares a link with one that everything
waits for. It is never slower for what runs one by one, and for flows that meet in one place; twice as fast hardware is
exactly twice as fast always.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.execute.outcome import Outcome
from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, Plan, Transfer
from controller.topology.loader import load_topology
from controller.topology.schema import Topology

ROWS, ROW = 64, 4096
BUFFERS = {
    device: [Buffer(device, tier, f"{device}{index}", "fp32", (ROWS, ROW)) for index in range(3)]
    for device, tier in (("gpu", "hbm"), ("cpu", "dram"), ("csd0", "dram"), ("csd1", "flash"))
}
NETWORK = "a6000_2csd"
COMPUTING = ("gpu", "cpu", "csd0")


@st.composite
def plans(draw: st.DrawFn, *, chained: bool = False, kernels: bool = True) -> Plan:
    """Transfers and kernels on drawn rows; `chained` runs them one by one."""
    build = PlanBuilder("drawn")
    for index in range(draw(st.integers(1, 10))):
        rows = draw(st.sampled_from([1, 8, 40, ROWS]))

        def part(device: str, rows: int = rows):
            start = draw(st.integers(0, ROWS - rows))
            return draw(st.sampled_from(BUFFERS[device])).rows(start, start + rows)

        after = [index - 1] if chained and index else []
        if kernels and draw(st.booleans()):
            device = draw(st.sampled_from(COMPUTING))
            build.kernel("activation", device, [part(device)], [part(device)], kind="relu", after=after)
        else:
            source, target = (draw(st.sampled_from(list(BUFFERS))) for _ in range(2))
            queue = draw(st.sampled_from(["", "copy_out"]))
            build.transfer(part(source), part(target), queue=queue, after=after)
    return build.plan()


def run(plan: Plan, topology: Topology, *, times: int = 1) -> Outcome:
    def program(run):
        for buffers in BUFFERS.values():
            for buffer in buffers:
                run.place(buffer, written=True)
        for _ in range(times):
            yield run.submit(plan)

    return run_virtual(topology, [program])


BANDWIDTHS = (
    "gpu.hbm.read", "gpu.hbm.write", "gpu.pcie.read", "gpu.pcie.write", "cpu.dram.read", "cpu.dram.write",
    "csd.flash.read", "csd.flash.write", "csd.dram.read", "csd.dram.write", "csd.pcie.read", "csd.pcie.write",
    "link.gpu.pcie-root.bandwidth", "link.csd0.pcie-root.bandwidth", "link.cpu.pcie-root.bandwidth",
    "csd.engine.peak.fp32", "gpu.vector.peak.fp32",
)  # fmt: skip


def overridden(*values: tuple[str, float]) -> Topology:
    unit = {"peak": "FLOP/s"}
    texts = [f"{path}={value!r} {next((u for key, u in unit.items() if key in path), 'B/s')}" for path, value in values]
    return load_topology(NETWORK, texts)


@given(plans(chained=True), st.sampled_from(BANDWIDTHS), st.sampled_from([1e9, 9e9]), st.floats(1.0, 100.0))
@settings(max_examples=40, deadline=None)
def test_more_bandwidth_is_never_slower_one_by_one(plan: Plan, path: str, rate: float, factor: float) -> None:
    slow, fast = (run(plan, overridden((path, value))).time_s for value in (rate, rate * factor))
    assert fast <= slow * (1 + 1e-12)


@given(
    sizes=st.lists(st.integers(1, ROWS), min_size=1, max_size=3),
    rate=st.sampled_from([1e8, 3e9]),
    factor=st.floats(1.0, 100.0),
)
@settings(max_examples=30, deadline=None)
def test_more_bandwidth_is_never_slower_for_flows_that_meet(sizes: list[int], rate: float, factor: float) -> None:
    build = PlanBuilder("incast")
    for index, rows in enumerate(sizes):
        build.transfer(BUFFERS["gpu"][index].rows(0, rows), BUFFERS["cpu"][index].rows(0, rows))
    link = "link.gpu.pcie-root.bandwidth"
    slow, fast = (run(build.plan(), overridden((link, value))) for value in (rate, rate * factor))
    assert fast.time_s <= slow.time_s * (1 + 1e-12)


def scaled(topology: Topology, factor: float) -> Topology:
    """The same cluster in which everything takes `factor` times as long."""

    def slower(part):
        """A frozen part with every rate divided and every duration multiplied."""
        changed: dict[str, object] = {}
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if field.name.endswith("_bytes_per_s") and value is not None:
                changed[field.name] = value / factor
            elif field.name.endswith("_s") and isinstance(value, float):
                changed[field.name] = value * factor
            elif field.name == "peak_flop_per_s":
                changed[field.name] = {name: peak / factor for name, peak in value.items()}
        return dataclasses.replace(part, **changed)

    def slower_device(device):
        parts = ("tiers", "ports", "computes", "queues")
        made = {name: {key: slower(each) for key, each in getattr(device.spec, name).items()} for name in parts}
        return dataclasses.replace(device, spec=dataclasses.replace(device.spec, **made))

    return dataclasses.replace(
        topology,
        devices={name: slower_device(device) for name, device in topology.devices.items()},
        links=tuple(slower(link) for link in topology.links),
    )


@given(plans(), st.sampled_from([0.5, 2.0, 1024.0]))
@settings(max_examples=30, deadline=None)
def test_hardware_that_is_slower_in_everything_is_slower_by_that_factor(plan: Plan, factor: float) -> None:
    """By powers of two, so exactly: floating point numbers keep their digits."""
    topology = load_topology(NETWORK)
    assert run(plan, scaled(topology, factor)).time_s == pytest.approx(factor * run(plan, topology).time_s, rel=1e-12)


@given(plans())
@settings(max_examples=40, deadline=None)
def test_bytes_in_are_bytes_out(plan: Plan) -> None:
    """What leaves through ports enters through ports, is on links once in each half, and is what the plan moves."""
    amounts = {use.name: use.amount for use in run(plan, load_topology(NETWORK)).resources}
    between = 0.0
    for op in plan.ops:
        if isinstance(op, Transfer) and op.sources[0].buffer.device != op.destinations[0].buffer.device:
            between += 4 * op.sources[0].shape[0] * ROW
    for ending in (".pcie.read", ".pcie.write", "-root>", "-root<"):
        assert sum(amount for name, amount in amounts.items() if name.endswith(ending)) == pytest.approx(between)


def turned(topology: Topology) -> Topology:
    """The same cluster, declared in the opposite order."""
    devices = dict(reversed(topology.devices.items()))
    return dataclasses.replace(topology, devices=devices, links=topology.links[::-1])


@given(plans())
@settings(max_examples=40, deadline=None)
def test_the_order_of_declaration_does_not_matter(plan: Plan) -> None:
    topology = load_topology(NETWORK)
    one, other = run(plan, topology), run(plan, turned(topology))
    assert other.time_s == pytest.approx(one.time_s, rel=1e-12)
    assert {use.name: use.amount for use in other.resources} == pytest.approx(
        {use.name: use.amount for use in one.resources}, rel=1e-12
    )


@given(plans(), st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_a_plan_takes_the_same_time_whenever_it_runs(plan: Plan, times: int) -> None:
    topology = load_topology(NETWORK)
    once, often = run(plan, topology).time_s, run(plan, topology, times=times).time_s
    assert often == pytest.approx(times * once, rel=1e-9)
