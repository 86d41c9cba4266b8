"""Clusters that outlive the command that started them: ``up``, ``ps`` and ``down``."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from controller.clock import sleep_s, wall_clock_s
from controller.errors import DeviceUnreachable, StartFailed, UserError
from controller.launch.cluster import Cluster, start
from controller.launch.preflight import Needs
from controller.launch.run_directory import is_held, read_cluster_file, remove_stale, runs_folder
from controller.topology.schema import Topology

_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A detached cluster.

    Attributes:
        name: that it was started under.
        directory: of the run.
        topology: name of what it was started from.
        source: path or name of it.
        digest: of its resolved content.
        overrides: that were applied.
        pace: dilation, or None.
        server: process id of the fork server.
        devices: (name, kind, process id, alive) of each node.
    """

    name: str
    directory: Path
    topology: str
    source: str
    digest: str
    overrides: tuple[str, ...]
    pace: float | None
    server: int
    devices: tuple[tuple[str, str, int, bool], ...]


def start_detached(
    topology: Topology,
    name: str = "",
    *,
    pace: float | None = None,
    flash_folder: Path | None = None,
    needs: Needs | None = None,
) -> RunningCluster:
    """Starts a cluster that goes on when this process ends.

    Args:
        topology: what to start.
        name: to find it by; "" is the topology's name.
        pace, flash_folder, needs: as of `launch`.

    Raises:
        PreflightFailed: the machine lacks memory, disk or files.
        StartFailed: one of that name runs, or a node did not become ready.
    """
    name = name or topology.name
    if not name or "/" in name or name.startswith("."):
        raise UserError(f"{name!r} cannot name a cluster; use letters, digits, - and _")
    cluster = start(topology, pace, flash_folder, needs or {}, name, detached=True)
    for client in cluster.clients.values():
        client.close()
    return _running(runs_folder() / name)


def list_running() -> tuple[RunningCluster, ...]:
    """Every detached cluster of this user, by name; what crashes left is removed."""
    folder = runs_folder()
    if not folder.exists():
        return ()
    remove_stale(folder)
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("run-") and is_held(path):
            found.append(_running(path))
    return tuple(found)


def stop(name: str) -> None:
    """Ends a detached cluster and removes everything that it left.

    Raises:
        UserError: none of that name runs.
    """
    running = _find(name)
    if running.server and psutil.pid_exists(running.server):
        os.kill(running.server, signal.SIGTERM)
    deadline = wall_clock_s() + _STOP_S
    while is_held(running.directory):
        if wall_clock_s() > deadline:
            raise StartFailed(f"{name} did not end within {_STOP_S:g} s; its fork server is process {running.server}")
        sleep_s(0.02)
    shutil.rmtree(running.directory, ignore_errors=True)


def connect(name: str, topology: Topology) -> Cluster:
    """A detached cluster to run on; closing it leaves it running.

    Args:
        name: that it was started under.
        topology: that it was started from.

    Raises:
        UserError: none of that name runs, or it was started from another topology.
        DeviceUnreachable: one of its nodes has died.
    """
    running = _find(name)
    content = read_cluster_file(running.directory)
    if list(content["devices"]) != list(topology.devices) or running.digest != topology.digest:
        raise UserError(
            f"{name} was started from {running.source} with other content than {topology.source} has now; stop it and "
            "start it again"
        )
    for device, _, process, alive in running.devices:
        if not alive:
            raise DeviceUnreachable(f"{device} of {name} (process {process}) has died; stop {name} and start it again")
    targets = {device: entry["target"] for device, entry in content["devices"].items()}
    cluster = Cluster(topology, targets, content["arbiter"], running.pace, content["epoch"], None)
    cluster.await_health()
    return cluster


def _find(name: str) -> RunningCluster:
    running = {cluster.name: cluster for cluster in list_running()}
    if name not in running:
        raise UserError(f"no cluster named {name!r} is running; running: {', '.join(running) or 'none'}")
    return running[name]


def _running(path: Path) -> RunningCluster:
    content = read_cluster_file(path)
    processes = content["processes"]
    devices = []
    for device, entry in content["devices"].items():
        process = int(processes["nodes"].get(device, 0))
        devices.append((device, str(entry["spec"]["kind"]), process, _alive(process)))
    return RunningCluster(
        path.name,
        path,
        content["topology"],
        content["source"],
        content["digest"],
        tuple(content["overrides"]),
        content["dilation"],
        int(processes["server"]),
        tuple(devices),
    )


def _alive(process: int) -> bool:
    try:
        return process > 0 and psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
