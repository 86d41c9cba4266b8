"""Runs are found and removed by windtunnel's own mark, and listed whatever their files hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import PreflightFailed, StartFailed, UserError
from controller.launch import list_running, start_detached, stop
from controller.launch.run_directory import RunDirectory, create_run_directory, remove_stale, write_server
from controller.topology.schema import Topology
from node.protocol import CLUSTER_FILE, PROCESSES_FILE


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="wt-unit-"))
    monkeypatch.setenv("WINDTUNNEL_RUNS", str(path))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def run(folder: Path) -> Iterator[RunDirectory]:
    made = create_run_directory("mine")
    yield made
    made.close()


def test_what_windtunnel_did_not_make_stays(folder: Path) -> None:
    foreign = [folder / name for name in ("thesis", "run-1-1", ".git")]
    for path in foreign:
        path.mkdir()
        (path / "precious").write_text("x")
    (folder / "run-1-1" / "lock").touch()
    (folder / "run-1-1" / CLUSTER_FILE).write_text("{}")
    assert list_running() == () and remove_stale(folder) == ()
    create_run_directory().close()
    create_run_directory("other").close()
    assert all((path / "precious").exists() for path in foreign)
    with pytest.raises(StartFailed, match="no run of windtunnel"):
        create_run_directory("thesis")


def test_a_run_that_is_only_starting_is_neither_listed_nor_removed(run: RunDirectory) -> None:
    assert list_running() == ()
    assert run.path.is_dir()


@pytest.mark.parametrize("text", ["", "{broken", "[]", "{}", '{"devices": {"gpu": 1}}'])
def test_a_broken_cluster_file_is_listed_and_can_be_stopped(run: RunDirectory, text: str) -> None:
    (run.path / CLUSTER_FILE).write_text(text)
    (run.path / PROCESSES_FILE).write_text("")
    code = "import sys, time; print(flush=True); time.sleep(60)"
    # Stands for the fork server: its command line says so, and it holds the lock.
    server = subprocess.Popen([sys.executable, "-c", code, "node.server"], stdout=subprocess.PIPE, pass_fds=[run.lock])
    assert server.stdout is not None and server.stdout.readline()
    write_server(run, server.pid)
    (listed,) = list_running()
    assert (listed.name, listed.server, listed.devices) == ("mine", server.pid, (("?", "?", server.pid, True),))
    held = os.dup(run.lock)
    os.dup2(os.open(os.devnull, os.O_RDONLY), run.lock)  # let go of it, for the fixture to close
    os.close(held)
    stop("mine")
    assert server.wait(5) < 0
    assert not run.path.exists()


def test_a_process_that_is_no_fork_server_is_not_ended(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.path / CLUSTER_FILE).write_text("{broken")
    write_server(run, os.getpid())
    monkeypatch.setattr("controller.launch.detached._STOP_S", 0.0)
    with pytest.raises(StartFailed, match="did not end"):
        stop("mine")


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "a b", "a\nb", "a\n", "-x", "é", "run-x"])
def test_names_that_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        start_detached(Topology("t", "t", {}, (), ()), name)


def test_a_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WINDTUNNEL_RUNS", str(tmp_path / "file"))
    for act in (list_running, create_run_directory):
        with pytest.raises(PreflightFailed, match="WINDTUNNEL_RUNS"):
            act()


def test_a_folder_that_others_can_write_into_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    for use in (lambda: create_run_directory("mine"), lambda: remove_stale(folder), list_running):
        with pytest.raises(PreflightFailed, match=r"mode 0777.*chmod go-w"):
            use()
    folder.chmod(0o755)  # others may look, but each run keeps them out
    create_run_directory("mine").close()
    assert (folder / "mine").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_or_run_of_somebody_else_is_refused(folder: Path) -> None:
    run = create_run_directory("theirs")
    run.close()
    os.chown(folder / "theirs", 12345, 12345)
    assert list_running() == () and remove_stale(folder) == ()
    assert (folder / "theirs").exists()
    os.chown(folder, 12345, 12345)
    try:
        for use in (lambda: create_run_directory("mine"), lambda: remove_stale(folder), list_running):
            with pytest.raises(PreflightFailed, match=r"belongs to user 12345, and this is user 0"):
                use()
    finally:
        os.chown(folder, 0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of somebody else's")
def test_a_link_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = folder / "link"
    (folder / "real").mkdir(mode=0o700)
    link.symlink_to(folder / "real")
    monkeypatch.setenv("WINDTUNNEL_RUNS", str(link))
    create_run_directory("mine").close()  # one's own is as good as what it leads to
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(PreflightFailed, match="belongs to user 12345"):
        create_run_directory("again")
