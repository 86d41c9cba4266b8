"""Clusters that outlive the command that started them: ``up``, ``ps`` and ``down``."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from controller.clock import sleep_s, wall_clock_s
from controller.errors import DeviceUnreachable, StartFailed, UserError
from controller.launch.certificates import CONTROLLER, read_credentials
from controller.launch.cluster import Cluster
from controller.launch.cluster_file import read_cluster_file
from controller.launch.listening import Listening
from controller.launch.preflight import Needs
from controller.launch.run_directory import held_runs, is_held, is_starting, read_processes, runs_folder
from controller.launch.start import start, whereabouts_of
from controller.topology.schema import Topology
from node.protocol import NODE_TIMEOUT_S

_STOP_S = 10.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\Z")
_UNNAMED = "run-"
"""How directories of runs begin that were not started under a name."""


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
        server: process id of the fork server; 0 when it is not known.
        devices: (name, kind, process id, alive) of each node. The process is 0 when it is not known, the kind is "?"
            when the cluster file cannot be read, and then the only entry is the fork server if no node is known either.
        targets: where each node listens, when that is an address and no socket in the directory; they then demand the
            credentials that lie in the directory.
        stopped: devices whose processes live and do not run (SIGSTOP, a debugger), so that they do not answer.
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
    targets: Mapping[str, str] = field(default_factory=dict)
    stopped: frozenset[str] = frozenset()


def start_detached(
    topology: Topology,
    name: str = "",
    *,
    pace: float | None = None,
    flash_folder: Path | None = None,
    needs: Needs | None = None,
    listening: Listening | None = None,
    node_timeout_s: float = NODE_TIMEOUT_S,
) -> RunningCluster:
    """Starts a cluster that goes on when this process ends.

    Args:
        topology: what to start.
        name: to find it by; "" is the topology's name.
        pace, flash_folder, needs, listening: as of `launch`.
        node_timeout_s: how long a node may be silent before a controller that is connected to it gives up [s].

    Raises:
        MissingExtra: as of `launch`.
        PreflightFailed: the machine lacks memory, disk or files.
        StartFailed: one of that name runs, or a node did not become ready.
        UserError: a name that is not allowed.
    """
    name = name or topology.name
    if not _NAME.match(name) or name.startswith(_UNNAMED):
        raise UserError(
            f"{name!r} cannot name a cluster; use letters, digits, - and _, not - first and not {_UNNAMED} first "
            "(runs without a name are called so)"
        )
    cluster = start(
        topology,
        pace,
        flash_folder,
        needs or {},
        name,
        detached=True,
        listening=listening,
        node_timeout_s=node_timeout_s,
    )
    cluster.forget()
    return _running(runs_folder() / name)


def list_running() -> tuple[RunningCluster, ...]:
    """Every detached cluster of this user, by name; what crashes left is removed."""
    folder = runs_folder()
    if not folder.exists():
        return ()
    return tuple(
        _running(path) for path in held_runs(folder) if not path.name.startswith(_UNNAMED) and not is_starting(path)
    )


def stop(name: str) -> None:
    """Ends a detached cluster and removes everything that it left.

    Raises:
        UserError: none of that name runs.
    """
    running = _find(name)
    if _is_fork_server(running.server):
        with suppress(ProcessLookupError):
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
        UserError: none of that name runs, it was started from another topology, or another program uses it.
        DeviceUnreachable: one of its nodes has died.
    """
    running = _find(name)
    content = read_cluster_file(running.directory)
    if content is None:
        raise UserError(f"the cluster file of {name} in {running.directory} is broken; stop {name} and start it again")
    if list(content["devices"]) != list(topology.devices) or running.digest != topology.digest:
        raise UserError(
            f"{name} was started from {running.source} with other content than {topology.source} has now; stop it and "
            "start it again"
        )
    for device, _, process, alive in running.devices:
        if not alive:
            text = f"{device} of {name} (process {process}) has died; stop {name} and start it again"
            raise DeviceUnreachable(text, device)
    credentials = {CONTROLLER: read_credentials(running.directory)} if content.get("secured") else None
    lock = os.open(running.directory / "controller.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise UserError(
            f"another program runs on {name}; wait until it has ended, or start a cluster of its own"
        ) from error
    cluster = Cluster(
        topology,
        whereabouts_of(content, credentials),
        running.pace,
        content["epoch"],
        None,
        node_timeout_s=content["node_timeout_s"],
        lock=lock,
    )
    cluster.open()
    return cluster


def _find(name: str) -> RunningCluster:
    running = {cluster.name: cluster for cluster in list_running()}
    if name not in running:
        raise UserError(f"no cluster named {name!r} is running; running: {', '.join(running) or 'none'}")
    return running[name]


def _running(path: Path) -> RunningCluster:
    server, nodes = read_processes(path)
    content = read_cluster_file(path) or {}
    try:
        kinds = {device: str(entry["spec"]["kind"]) for device, entry in content["devices"].items()}
        said = (content["topology"], content["source"], content["digest"], tuple(content["overrides"]))
        pace = content["dilation"]
        secured = content.get("secured", False)
        targets = {device: str(entry["target"]) for device, entry in content["devices"].items() if secured}
    except (KeyError, TypeError, AttributeError):  # the file is broken: list what can be stopped
        nodes = nodes or {"?": server}
        kinds, said, pace = dict.fromkeys(nodes, "?"), ("?", "?", "", ()), None
        targets = {}
    # Nodes that were not noted, or not yet, live and die with the fork server.
    status = {device: _status(nodes.get(device, server)) for device in kinds}
    devices = tuple(
        (device, kind, nodes.get(device, 0), status[device] not in (psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE))
        for device, kind in kinds.items()
    )
    halted = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    stopped = frozenset(device for device in kinds if status[device] in halted)
    return RunningCluster(path.name, path, *said, pace, server, devices, targets, stopped)


def _is_fork_server(process: int) -> bool:
    """Whether a process id that was read from a file is what it should be; anything else is not to be ended."""
    try:
        return process > 0 and "node.server" in psutil.Process(process).cmdline()
    except psutil.Error:
        return False


def _status(process: int) -> str:
    """What the system says that a process does; one that is not there is dead."""
    try:
        return str(psutil.Process(process).status() if process > 0 else psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_DEAD)
