"""Bytes through flash, and what they wear."""

from __future__ import annotations

import pytest

from controller.execute.flash_traffic import wear_ratio
from controller.execute.virtual import run_virtual
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.plan.build import PlanBuilder
from controller.plan.ops import Buffer, View
from controller.plan.size import symbol
from controller.program.run import Program, Run
from controller.topology.loader import load_topology


def test_open_sizes_and_both_sides_are_counted() -> None:
    topology = load_topology("a6000_csd")
    flash = Buffer("csd0", "flash", "kept", "uint8", (1 << 20,))
    host = Buffer("cpu", "dram", "host", "uint8", (1 << 20,))
    build = PlanBuilder("move")
    build.transfer(View(host, 0, (symbol("n"),)), View(flash, 0, (symbol("n"),)))
    build.transfer(flash, host)
    plan = build.plan()

    def program(run: Run) -> Program:
        run.place(flash, written=True)
        run.place(host, written=True)
        yield run.submit(plan, n=4096)
        yield run.submit(plan, n=8192)

    use = run_virtual(topology, [program]).flash["csd0.flash"]
    assert (use.read_bytes, use.written_bytes) == (2 << 20, 4096 + 8192)


def test_a_generation_in_storage_writes_its_cache_once() -> None:
    request = RunSpec("instinfer", "opt-125m", batch=16, prompt_tokens=64, output_tokens=17)
    use = run_experiment(request).outcome.flash["csd0.flash"]
    cache = 16 * (64 + 16) * 12 * 768 * 2 * 2
    assert cache <= use.written_bytes <= 1.1 * cache
    assert use.read_bytes > 16 * 64 * 12 * 768 * 2 * 2 * 15


def test_wear_is_a_share_of_what_the_drive_is_rated_for() -> None:
    topology = load_topology("a6000_ssd")
    assert wear_ratio(topology, "ssd0.flash", 1.2e12) == pytest.approx(1e-3)
    assert wear_ratio(topology, "gpu.hbm", 1.0) is None


def test_what_keeps_nothing_on_flash_reports_none() -> None:
    assert (
        run_experiment(RunSpec("gpu_only", "tiny-opt", batch=1, prompt_tokens=4, output_tokens=2)).outcome.flash == {}
    )
