"""What went in came out: bytes and time of every resource add up to what the plans moved."""

import pytest
from pytest import approx

from controller.execute.virtual import run_virtual
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer

MB = 1_000_000


def on(device: str, name: str, size: int) -> Buffer:
    tier = {"c": "dram", "d": "flash"}.get(device[0], "hbm")
    return Buffer(device, tier, name, "fp32", (size // 4,))


@pytest.fixture
def busy(timed):
    """A transfer gpu0 -> cpu of 10 MB and one back of 4, one to the drive of 8 MB, and a copy of 6 MB on gpu0."""
    build = PlanBuilder("busy")
    build.transfer(on("gpu0", "a", 10 * MB), on("cpu", "a", 10 * MB), label="out")
    build.transfer(on("cpu", "b", 4 * MB), on("gpu0", "b", 4 * MB), label="back")
    build.transfer(on("gpu0", "c", 8 * MB), on("drive", "c", 8 * MB), label="store")
    build.kernel("copy", "gpu0", [on("gpu0", "d", 6 * MB)], [on("gpu0", "e", 6 * MB)], label="kernel")
    return timed(build.plan())[0]


def test_bytes_in_are_bytes_out(busy) -> None:
    amounts = {use.name: use.amount for use in busy.resources}
    assert amounts["gpu0.pcie-root>"] == approx(18 * MB)
    assert amounts["gpu0.pcie.read"] == approx(18 * MB)
    assert amounts["gpu0.hbm.read"] == approx(18 * MB + 6 * MB)
    assert amounts["gpu0.hbm.write"] == approx(4 * MB + 6 * MB)
    assert amounts["cpu.pcie-root<"] == amounts["cpu.dram.write"] == approx(10 * MB)
    assert amounts["cpu.pcie-root>"] == amounts["cpu.dram.read"] == approx(4 * MB)
    assert amounts["drive.pcie-root<"] == approx(8 * MB)
    into = sum(amounts.get(f"{device}.pcie.write", 0) for device in ("cpu", "gpu0", "drive"))
    out = sum(amounts.get(f"{device}.pcie.read", 0) for device in ("cpu", "gpu0", "drive"))
    assert into == out == approx(22 * MB)


def test_a_simplex_tier_counts_its_time(busy) -> None:
    use = next(use for use in busy.resources if use.name == "drive.flash.simplex")
    assert (use.busy_s, use.amount) == (approx(8 * MB / 2e9), approx(8 * MB / 2e9))


def test_kinds_and_shares(busy) -> None:
    kinds = {use.name: use.kind for use in busy.resources}
    assert (kinds["gpu0.hbm.read"], kinds["gpu0.pcie.read"], kinds["gpu0.pcie-root>"], kinds["gpu0.stream"]) == (
        "tier", "port", "link", "queue",
    )  # fmt: skip
    for use in busy.resources:
        assert use.busy_ratio == approx(use.busy_s / busy.time_s)
        assert use.busy_ratio <= 1 + 1e-9
    assert [use.busy_s for use in busy.resources] == sorted((use.busy_s for use in busy.resources), reverse=True)


def test_a_queue_counts_its_ops_and_how_long_they_held_it(busy) -> None:
    use = next(use for use in busy.resources if use.name == "gpu0.stream")
    assert (use.amount, use.busy_s) == (1, approx(6 * MB / 100e9, rel=0.5))


def test_time_by_label(toy) -> None:
    build = PlanBuilder("labels")
    for milliseconds in (1, 2, 4):
        build.kernel("delay", "gpu0", [], [], seconds=milliseconds * 1e-3, label="wait" if milliseconds > 1 else "")

    def program(run):
        for _ in range(2):
            yield run.submit(build.plan())

    outcome = run_virtual(toy(), [program])
    assert [(entry.label, entry.count, entry.time_s) for entry in outcome.op_times] == [
        ("wait", 4, approx(12e-3)),
        ("delay", 2, approx(2e-3)),
    ]
    assert all(entry.paced_s is None for entry in outcome.op_times)
