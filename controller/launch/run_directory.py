"""The directory of a run: where it is, who holds it, and what an earlier crash left."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from controller.errors import PreflightFailed, StartFailed
from controller.topology.schema import Topology
from node.client import spec_to_data

CLUSTER_FILE = "cluster.json"
PROCESSES_FILE = "processes.json"
_LOCK_FILE = "lock"
_SOCKET_PATH_LENGTH = 100
"""The kernel takes socket paths of 107 bytes."""

_numbers = count(1)


def runs_folder() -> Path:
    """Where all runs of this user lie: ``$WINDTUNNEL_RUNS``, or a folder of the user's own for temporary files."""
    chosen = os.environ.get("WINDTUNNEL_RUNS")
    return Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"windtunnel-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run.

    Attributes:
        path: the directory.
        lock: descriptor that holds it; whoever has it, or a copy, keeps the directory from being removed as stale.
    """

    path: Path
    lock: int

    def close(self) -> None:
        """Lets go of the lock; the fork server keeps its own copy."""
        os.close(self.lock)


def create_run_directory(name: str = "") -> RunDirectory:
    """A fresh directory, held by this process, after those that nobody holds were removed.

    Args:
        name: of the run; "" makes one from the process id.

    Raises:
        StartFailed: a cluster of that name is running.
        PreflightFailed: a path that is too long for a socket.
    """
    folder = runs_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _folder_locked(folder):
        remove_stale(folder)
        path = folder / (name or f"run-{os.getpid()}-{next(_numbers)}")
        longest = len(os.fsencode(path)) + len("/0000.sock")
        if longest > _SOCKET_PATH_LENGTH:
            raise PreflightFailed(
                f"sockets in {path} would have paths of {longest} bytes, the system takes {_SOCKET_PATH_LENGTH}; set "
                "WINDTUNNEL_RUNS to a shorter folder"
            )
        if path.exists():
            raise StartFailed(f"a cluster named {path.name!r} is running; stop it first or choose another name")
        path.mkdir(mode=0o700)
        lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return RunDirectory(path, lock)


def remove_stale(folder: Path) -> tuple[str, ...]:
    """Removes the directories of runs that have no process any more; returns their names."""
    removed = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_held(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    return tuple(removed)


def is_held(path: Path) -> bool:
    """Whether a process of the run still lives: each holds the lock."""
    try:
        lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def write_cluster_file(
    path: Path, topology: Topology, epoch: float, pace: float | None, flash_folder: Path | None
) -> dict[str, Any]:
    """Writes what the fork server starts; returns it."""
    devices = {
        device.name: {
            "host": device.host,
            "target": f"unix:{path / f'{index}.sock'}",
            "spec": spec_to_data(device.spec),
        }
        for index, device in enumerate(topology.devices.values())
    }
    content = {
        "topology": topology.name,
        "source": topology.source,
        "digest": topology.digest,
        "overrides": list(topology.overrides),
        "devices": devices,
        "links": link_capacities(topology),
        "epoch": epoch,
        "dilation": pace,
        "arbiter": f"unix:{path / 'arbiter.sock'}" if pace is not None and topology.links else "",
        "flash_folder": str((flash_folder or path / "flash").absolute()),
    }
    (path / CLUSTER_FILE).write_text(json.dumps(content))
    return content


def read_cluster_file(path: Path) -> dict[str, Any]:
    """What `write_cluster_file` wrote, and the processes under ``processes``."""
    content: dict[str, Any] = json.loads((path / CLUSTER_FILE).read_text())
    processes = path / PROCESSES_FILE
    content["processes"] = json.loads(processes.read_text()) if processes.exists() else {"server": 0, "nodes": {}}
    return content


def link_capacities(topology: Topology) -> Mapping[str, float]:
    """Capacity of every direction of every link, ``NAME>`` forward and ``NAME<`` backward [bytes/s]."""
    capacities: dict[str, float] = {}
    for link in topology.links:
        capacities[f"{link.name}>"] = link.forward_bytes_per_s
        capacities[f"{link.name}<"] = link.backward_bytes_per_s
    return capacities


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
