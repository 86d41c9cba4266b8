"""What a machine cannot carry is refused before anything starts."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path

import pytest

from controller.errors import PreflightFailed
from controller.launch import preflight, smallest_dilation
from controller.launch.preflight import MachineSpeed
from controller.launch.run_directory import create_run_directory, is_held, remove_stale
from controller.topology.schema import Device, Topology
from node.hardware.device import DeviceSpec, TierSpec


def topology(count: int = 1) -> Topology:
    tiers = {"hbm": TierSpec("hbm", "dram", 1 << 50, 1e9, 1e9), "flash": TierSpec("flash", "flash", 1 << 60, 1e9, 1e9)}
    spec = DeviceSpec("p", "csd", "", tiers, {}, {}, {})
    return Topology("t", "t", {f"d{n}": Device(f"d{n}", "d", n, "h", spec) for n in range(count)}, (), ())


def test_what_fits_passes(tmp_path: Path) -> None:
    preflight(topology(), {("d0", "hbm"): 1 << 20, ("d0", "flash"): 1 << 20}, flash_folder=tmp_path / "not" / "there")


def test_too_much_memory() -> None:
    with pytest.raises(PreflightFailed, match=r"needs 1125.* GB of memory"):
        preflight(topology(), {("d0", "hbm"): 1 << 50})


def test_too_much_disk(tmp_path: Path) -> None:
    with pytest.raises(PreflightFailed, match="two slots"):
        preflight(topology(), {("d0", "flash"): 1 << 59}, flash_folder=tmp_path)


def test_too_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 300))
    with pytest.raises(PreflightFailed, match="ulimit"):
        preflight(topology(20), {})


def test_too_little_memory_for_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = namedtuple("memory", "available")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(1_000_000_000))
    preflight(topology(4), {})
    with pytest.raises(PreflightFailed, match="64 nodes"):
        preflight(topology(64), {})


def test_the_smallest_dilation_is_set_by_the_worst_command() -> None:
    speed = MachineSpeed(copy_bytes_per_s=1e9, flop_per_s=1e9, command_s=0.0, cores=2)
    commands = [(1e9, 0.0, 0.1), (0.0, 4e9, 1.0), (1.0, 1.0, 0.0)]
    assert smallest_dilation(speed, commands) == pytest.approx(10.0)
    assert smallest_dilation(speed, commands, busy_nodes=4) == pytest.approx(20.0)
    assert smallest_dilation(speed, []) == 0.0


def test_run_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDTUNNEL_RUNS", "/tmp/" + "n" * 120)
    try:
        with pytest.raises(PreflightFailed, match="WINDTUNNEL_RUNS"):
            create_run_directory("x")
    finally:
        import shutil

        shutil.rmtree("/tmp/" + "n" * 120)
    short = Path(f"/tmp/wt-unit-{os.getpid()}")
    monkeypatch.setenv("WINDTUNNEL_RUNS", str(short))
    try:
        run = create_run_directory("mine")
        assert is_held(run.path)
        assert remove_stale(short) == ()
        run.close()
        assert not is_held(run.path)
        assert remove_stale(short) == ("mine",)
    finally:
        shutil.rmtree(short)
