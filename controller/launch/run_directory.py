"""The directory of a run: where it is, who holds it, and what an earlier crash left.

**Whose it is.** Anybody may make a folder where temporary files lie, so every use of the folder of runs checks that it
belongs to this user and that nobody else may write into it; a run counts as one only if it belongs to this user too.
Each run has mode 0700, and a node refuses to listen in a folder that others may enter (`node.wire.channel`): gRPC does
not tell a service who is at the other end of a socket, so the folder keeps strangers out.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from controller.errors import PreflightFailed, StartFailed
from controller.launch.cluster_file import read_json
from node.protocol import CLUSTER_FILE, GROUP_SUFFIX, PROCESSES_FILE

_LOCK_FILE = "lock"
"""Locked by every process of the run; holds the process id of the fork server once that is started."""
_MARK_FILE = "windtunnel-run"
_MARK = "windtunnel made this directory and removes it once no process of the run lives\n"
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
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PreflightFailed(_no_folder(folder, error)) from error
    with _folder_locked(folder):
        _remove_stale(folder)
        path = folder / (name or f"run-{os.getpid()}-{next(_numbers)}")
        longest = len(os.fsencode(path)) + len(f"/0000{GROUP_SUFFIX}")
        if longest > _SOCKET_PATH_LENGTH:
            raise PreflightFailed(
                f"sockets in {path} would have paths of {longest} bytes, the system takes {_SOCKET_PATH_LENGTH}; set "
                "WINDTUNNEL_RUNS to a shorter folder"
            )
        if path.exists() and not is_run(path):
            raise StartFailed(f"{path} is there and is no run of windtunnel; choose another name or WINDTUNNEL_RUNS")
        if path.exists():
            raise StartFailed(f"a cluster named {path.name!r} is running; stop it first or choose another name")
        # Under its name it is seen complete only: marked, and held.
        fresh = folder / f".new-{os.getpid()}-{next(_numbers)}"
        fresh.mkdir(mode=0o700)
        (fresh / _MARK_FILE).write_text(_MARK)
        lock = os.open(fresh / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(path)
    return RunDirectory(path, lock)


def remove_stale(folder: Path) -> tuple[str, ...]:
    """Removes the directories of runs that have no process any more; returns their names.

    What does not carry windtunnel's own mark is left alone, whatever it is.

    Raises:
        PreflightFailed: no folder that can be written.
    """
    with _folder_locked(folder):
        return _remove_stale(folder)


def _remove_stale(folder: Path) -> tuple[str, ...]:
    removed = []
    for path in sorted(folder.iterdir()):
        if is_run(path) and not is_held(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    return tuple(removed)


def held_runs(folder: Path) -> tuple[Path, ...]:
    """The directories of runs that live, by name, after those that do not were removed.

    Raises:
        PreflightFailed: no folder that can be written.
    """
    with _folder_locked(folder):
        _remove_stale(folder)
        return tuple(path for path in sorted(folder.iterdir()) if is_run(path) and is_held(path))


def is_run(path: Path) -> bool:
    """Whether windtunnel made this directory."""
    try:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        return (path / _MARK_FILE).read_bytes() == _MARK.encode()
    except OSError:
        return False


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


def is_starting(path: Path) -> bool:
    """Whether a run has not come as far as its cluster file, or is being removed."""
    return not (path / CLUSTER_FILE).exists()


def write_server(run: RunDirectory, process: int) -> None:
    """Notes the fork server where it is found whatever becomes of the other files."""
    os.pwrite(run.lock, f"{process}\n".encode(), 0)


def read_processes(path: Path) -> tuple[int, dict[str, int]]:
    """Process id of the fork server, 0 when it is not known, and of each node that is known."""
    content = read_json(path / PROCESSES_FILE) or {}
    nodes = content.get("nodes")
    known = {str(name): pid for name, pid in nodes.items() if isinstance(pid, int)} if isinstance(nodes, dict) else {}
    try:
        server = int((path / _LOCK_FILE).read_text())
    except (OSError, ValueError):
        said = content.get("server")
        server = said if isinstance(said, int) else 0
    return server, known


def _no_folder(folder: Path, error: OSError) -> str:
    return f"{folder} cannot hold runs ({error.strerror}); set WINDTUNNEL_RUNS to a folder of your own"


def check_own(folder: Path, what: str) -> None:
    """Checks that nobody else could have made a folder, or can change what lies in it.

    Raises:
        PreflightFailed: it is a link, belongs to somebody else, or others may write into it.
    """
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid == os.geteuid():
        found = folder.stat()
    if found.st_uid != os.geteuid():
        why = f"belongs to user {found.st_uid}, and this is user {os.geteuid()}"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = f"has mode {stat.S_IMODE(found.st_mode):04o}, so that others may write into it (chmod go-w {folder})"
    else:
        return
    raise PreflightFailed(f"{what} {folder} {why}; set WINDTUNNEL_RUNS to a folder of your own")


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    try:
        check_own(folder, "the folder of runs")
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PreflightFailed(_no_folder(folder, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
