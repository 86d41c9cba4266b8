"""Looks before anything starts whether this machine can carry a live run."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from controller.clock import wall_clock_s
from controller.errors import PreflightFailed
from controller.launch.processes import process_count
from controller.topology.schema import Topology

Needs = Mapping[tuple[str, str], int]
"""Bytes that will be allocated, by (device, tier)."""

NODE_BYTES = 40_000_000
"""What a node takes beside its buffers [bytes of proportional memory]."""
DEVICE_BYTES = 3_000_000
"""What a further device of a process takes beside its buffers [bytes of proportional memory]."""
_FLASH_CACHE_BYTES = 512 << 20
_SERVER_BYTES = 300_000_000
_RAM_SHARE = 0.9
_FLASH_SLOTS = 2
_FILES = 256
_FILES_PER_PEER = 6


@dataclass(frozen=True, slots=True)
class MachineDemand:
    """What nodes take of the machine that they run on.

    Attributes:
        nodes: processes.
        files: that each may open.
        ram_bytes, disk_bytes: of all [bytes].
    """

    nodes: int
    files: int
    ram_bytes: int
    disk_bytes: int


def demand_of(topology: Topology, needs: Needs, hosts: Collection[str] | None = None) -> MachineDemand:
    """What the nodes of a topology take, or those of some of its hosts on one machine.

    Args:
        topology: its devices, and which of them share a process.
        needs: bytes that will be allocated, by (device, tier).
        hosts: names; None for all.
    """
    here = {name: device for name, device in topology.devices.items() if hosts is None or device.host in hosts}
    processes = process_count(topology, here.values())
    ram, disk = _SERVER_BYTES + NODE_BYTES * processes + DEVICE_BYTES * (len(here) - processes), 0
    for (device, tier), size in needs.items():
        if device not in here:
            continue
        if here[device].spec.tiers[tier].storage == "flash":
            disk += _FLASH_SLOTS * size
            ram += min(size, _FLASH_CACHE_BYTES)
        else:
            ram += size
    return MachineDemand(processes, _FILES + _FILES_PER_PEER * len(topology.devices), ram, disk)


def preflight(topology: Topology, needs: Needs, *, flash_folder: Path | None = None) -> None:
    """Checks memory, disk and open files of this machine.

    Args:
        topology: its devices, and which of them share a process.
        needs: bytes that will be allocated, by (device, tier).
        flash_folder: where flash tiers will lie.

    Raises:
        PreflightFailed: says what is short, by how much, and what to do.
    """
    check_machine(demand_of(topology, needs), flash_folder)


def check_machine(demand: MachineDemand, flash_folder: Path | None = None) -> None:
    """Checks whether this machine has what is demanded of it.

    Raises:
        PreflightFailed: says what is short, by how much, and what to do.
    """
    ram, disk = demand.ram_bytes, demand.disk_bytes
    has_ram = int(psutil.virtual_memory().available * _RAM_SHARE)
    if ram > has_ram:
        raise PreflightFailed(
            f"the run needs {_gb(ram)} of memory for {demand.nodes} nodes and their buffers, of which this "
            f"machine can give {_gb(has_ram)}; use a smaller model, batch or length, or run it virtually"
        )
    folder = flash_folder or Path(tempfile.gettempdir())
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    has_disk = shutil.disk_usage(existing).free
    if disk > has_disk:
        raise PreflightFailed(
            f"flash tiers need {_gb(disk)} on disk (two slots a chunk), {existing} has {_gb(has_disk)} free; use a "
            "smaller workload or put the flash folder on another disk"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and demand.files > hard:
        raise PreflightFailed(
            f"each of {demand.nodes} nodes may open {demand.files} files, the limit of this user is {hard}; raise it "
            "with ulimit -n or declare fewer devices"
        )


@dataclass(frozen=True, slots=True)
class MachineSpeed:
    """What one core of this machine does.

    Attributes:
        copy_bytes_per_s: memory bandwidth of plain copies [bytes/s].
        flop_per_s: fp32 matrix product [FLOP/s].
        command_s: what a command costs whatever it does [s].
        cores: how many nodes work at once.
    """

    copy_bytes_per_s: float
    flop_per_s: float
    command_s: float
    cores: int


def measure_machine() -> MachineSpeed:
    """Measures this machine for a tenth of a second."""
    source = np.ones(32 << 20, np.uint8)
    target = np.zeros_like(source)
    copy_s = min(_duration_s(lambda: np.copyto(target, source)) for _ in range(3))
    a = np.ones((512, 512), np.float32)
    product_s = min(_duration_s(lambda: a @ a) for _ in range(3))
    cores = len(os.sched_getaffinity(0))
    # The product may use every core; a node uses one.
    return MachineSpeed(2 * source.nbytes / copy_s, 2 * 512**3 / product_s / cores, 100e-6, cores)


def smallest_dilation(
    speed: MachineSpeed, commands: Iterable[tuple[float, float, float]], busy_nodes: int = 1
) -> float:
    """The smallest dilation at which this machine keeps up with every command, estimated.

    Args:
        speed: of this machine.
        commands: (bytes moved, FLOP, device time alone [s]) of each; those without device time are left out.
        busy_nodes: how many nodes work at the same time.
    """
    shared = max(1.0, busy_nodes / speed.cores)
    worst = 0.0
    for moved, flop, time_s in commands:
        if time_s > 0:
            real_s = (moved / speed.copy_bytes_per_s + flop / speed.flop_per_s) * shared + speed.command_s
            worst = max(worst, real_s / time_s)
    return worst


def _duration_s(act: object) -> float:
    began = wall_clock_s()
    if callable(act):
        act()
    return wall_clock_s() - began


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
