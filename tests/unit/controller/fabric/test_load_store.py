"""Kernels and copies that meet on a CXL card, on the virtual clock."""

from __future__ import annotations

import pytest

from controller.errors import BadPlan, UnknownDevice
from controller.execute.virtual import run_virtual
from controller.fabric.loads import Fabric
from controller.plan.build import PlanBuilder
from controller.plan.check import check_plan
from controller.plan.ops import Buffer
from controller.topology.loader import load_topology
from node.hardware.cache import absorbed_write_s

OVERRIDES = ["cpu.cores.launch=0 s", "gpu.count=2", "aic.count=2"]
HOST = load_topology("cxl_finetune", OVERRIDES)
COUNT = 250_000_000
MIB = 2**20
CARD = HOST.devices["aic0"].spec.tiers["cxl"]


def time_s(plan, topology=HOST) -> float:
    def program(run):
        for buffer in dict.fromkeys(view.buffer for op in plan.ops for view in views(op)):
            run.place(buffer, written=True)
        yield run.submit(plan)

    return run_virtual(topology, [program]).time_s


def views(op):
    return (*op.inputs, *op.outputs) if hasattr(op, "inputs") else (*op.sources, *op.destinations)


def on(device: str, name: str, count: int = COUNT) -> Buffer:
    tier = {"cpu": "dram", "gpu": "hbm", "aic": "cxl"}[device[:3]]
    return Buffer(device, tier, name, "fp32", (count,))


def scaled(*devices: str) -> PlanBuilder:
    build = PlanBuilder("scale")
    for number, device in enumerate(devices):
        x = on(device, f"x{number}")
        build.kernel("scale", "cpu", [x], [x], factor=2.0)
    return build


def test_a_kernel_on_a_card_goes_at_the_rate_of_the_card():
    # Each element is read and written: both directions together.
    assert time_s(scaled("aic0").plan()) == pytest.approx(8 * COUNT / CARD.total_bytes_per_s, rel=1e-3)
    assert time_s(scaled("cpu").plan()) == pytest.approx(8 * COUNT / 275.9e9, rel=1e-3)


def test_it_loads_card_port_links_and_the_port_of_the_cpu():
    outcome = run_virtual(HOST, [_program(scaled("aic0").plan())])
    busy = {use.name: use.amount for use in outcome.resources if use.amount}
    bytes_each_way = 4.0 * COUNT
    for name in (
        "aic0.cxl.read", "aic0.cxl.write", "aic0.pcie.read", "aic0.pcie.write", "aic0.pcie-root>", "aic0.pcie-root<",
        "cpu.pcie-root>", "cpu.pcie-root<", "cpu.pcie.read", "cpu.pcie.write",
    ):  # fmt: skip
        assert busy[name] == pytest.approx(bytes_each_way), name
    assert busy["aic0.cxl.total"] == pytest.approx(2 * bytes_each_way)
    assert "cpu.dram.simplex" not in busy and "aic1.cxl.read" not in busy


def _program(plan):
    def program(run):
        for buffer in dict.fromkeys(view.buffer for op in plan.ops for view in views(op)):
            run.place(buffer, written=True)
        yield run.submit(plan)

    return program


def test_a_kernel_and_the_copies_of_a_gpu_share_one_card_but_not_two():
    build = scaled("aic0")
    build.transfer(on("aic0", "weights"), on("gpu0", "weights"))
    alone = time_s(scaled("aic0").plan())
    together = time_s(build.plan())
    assert together == pytest.approx(12 * COUNT / CARD.total_bytes_per_s, rel=0.02)
    other = scaled("aic0")
    other.transfer(on("aic1", "weights"), on("gpu0", "weights"))
    assert time_s(other.plan()) == pytest.approx(alone, rel=1e-3)


def test_one_signature_on_two_cards_is_two_costs():
    # Equal shapes and tiers on different devices must not share one load.
    build = scaled("aic0", "cpu")
    slow, fast = 8 * COUNT / CARD.total_bytes_per_s, 8 * COUNT / 275.9e9
    assert time_s(build.plan()) == pytest.approx(slow + fast, rel=1e-3)


def copied(nbytes: int, path: str = "absorbed", target: str = "aic0"):
    build = PlanBuilder("copy")
    build.transfer(on("gpu0", "x", nbytes // 4), on(target, "y", nbytes // 4), path=path)
    return build.plan()


@pytest.mark.parametrize("mebibytes", [16, 64, 105, 128, 2048])
def test_an_absorbed_copy_takes_what_the_cache_model_says(mebibytes: int):
    fabric = Fabric(HOST)
    latency = fabric.transfer_load("gpu0", "hbm", "aic0", "cxl").latency_s
    link = HOST.devices["gpu0"].spec.ports["pcie"].read_bytes_per_s
    cache = HOST.devices["cpu"].spec.computes["vector"].constants["l2"]
    wanted = absorbed_write_s(mebibytes * MIB, cache, link, CARD.write_bytes_per_s)
    assert time_s(copied(mebibytes * MIB)) == pytest.approx(latency + wanted, rel=1e-6)


def test_a_plain_copy_finds_no_cache():
    plain = time_s(copied(64 * MIB, ""))
    assert plain == pytest.approx(64 * MIB / CARD.write_bytes_per_s, rel=0.01)
    assert time_s(copied(64 * MIB)) < 0.7 * plain


def test_what_cannot_be_absorbed_or_reached_is_refused():
    with pytest.raises(BadPlan, match="cannot be absorbed"):
        time_s(copied(MIB, target="cpu"))
    build = PlanBuilder("far")
    x = on("aic0", "x")
    build.kernel("scale", "gpu0", [x], [x], factor=2.0)
    with pytest.raises(UnknownDevice, match=r"cannot reach aic0\.cxl/x; transfer it first"):
        check_plan(build.plan(), HOST)
