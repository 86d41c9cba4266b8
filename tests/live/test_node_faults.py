"""Processes that die, controllers that die, drives that must remember."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from controller.errors import DeviceUnreachable, StartFailed, UserError
from controller.launch import connect, launch, list_running, start_detached, stop
from node.client import LaunchKernel, Operand
from node.errors import UnknownBuffer

pytestmark = pytest.mark.live


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def test_a_killed_node_is_named_within_five_seconds(twins: SimpleNamespace, runs_folder: Path) -> None:
    declared = twins.topology(("gpu", "host0", twins.device_spec()), ("csd0", "host0", twins.device_spec("csd")))
    with launch(declared) as cluster:
        client = cluster.clients["csd0"]
        client.allocate("x", "hbm", "fp32", (4,))
        whole = Operand("x", 0, (4,))
        running = client.submit([LaunchKernel(1, "add", (whole, whole), (whole,), wait=(99,))], ready_at=0.0)
        began = time.monotonic()
        os.kill(cluster.processes["csd0"], signal.SIGKILL)
        with pytest.raises(DeviceUnreachable, match=r"csd0 killed by signal 9"):
            running.result(5)
        assert time.monotonic() - began < 5
        with pytest.raises(DeviceUnreachable, match="csd0"):
            cluster.check()
        with pytest.raises(DeviceUnreachable, match="csd0"):
            client.describe()
        with pytest.raises(DeviceUnreachable, match="csd0"):
            client.submit([], ready_at=0.0)
        cluster.clients["gpu"].allocate("x", "hbm", "fp32", (4,))  # the others still answer
        processes = list(cluster.processes.values())
    assert not any(psutil.pid_exists(process) for process in processes)


def test_flash_remembers_the_last_commit_after_kill_9(twins: SimpleNamespace, tmp_path: Path) -> None:
    declared = twins.topology(("drive", "host0", twins.device_spec("csd", flash=True)))
    size = 20 << 20  # two chunks
    first, second = np.full(size, 1, np.uint8), np.full(size, 2, np.uint8)
    with launch(declared, flash_folder=tmp_path) as cluster:
        client = cluster.clients["drive"]
        client.allocate("kv/0", "flash", "uint8", (size,))
        client.allocate("dropped", "flash", "fp32", (4,))
        client.write("kv/0", first)
        assert cluster.commit() >= size
        client.write("kv/0", second[: size // 2], offset_bytes=size // 2)
        client.allocate("uncommitted", "flash", "fp32", (4,))
        client.free("dropped")
        os.kill(cluster.processes["drive"], signal.SIGKILL)
        assert eventually(lambda: not psutil.pid_exists(cluster.processes["drive"]))
    with launch(declared, flash_folder=tmp_path) as cluster:
        client = cluster.clients["drive"]
        assert [buffer.name for buffer in client.describe().buffers] == ["kv/0", "dropped"]
        assert client.describe().tiers["flash"].used_bytes == size + 16
        assert np.array_equal(client.read("kv/0"), first)
        client.write("kv/0", second)
        client.free("dropped")
        cluster.commit()
    with launch(declared, flash_folder=tmp_path) as cluster:
        client = cluster.clients["drive"]
        assert np.array_equal(client.read("kv/0"), second)
        with pytest.raises(UnknownBuffer):
            client.read("dropped")


def test_a_changed_flash_file_is_noticed(twins: SimpleNamespace, tmp_path: Path) -> None:
    declared = twins.topology(("drive", "host0", twins.device_spec("csd", flash=True)))
    with launch(declared, flash_folder=tmp_path) as cluster:
        cluster.clients["drive"].allocate("x", "flash", "uint8", (5000,))
        cluster.clients["drive"].write("x", np.full(5000, 3, np.uint8))
        cluster.commit()
    (chunk,) = (path for path in tmp_path.glob("drive/flash/arrays/*/c/*/0") if path.is_file())
    chunk.write_bytes(b"\x04" + chunk.read_bytes()[1:])
    with launch(declared, flash_folder=tmp_path) as cluster, pytest.raises(Exception, match="checksum") as found:
        cluster.clients["drive"].read("x")
    assert type(found.value).__name__ == "CorruptTier"
    manifest = tmp_path / "drive/flash/manifest.json"
    manifest.write_text("{")
    with (
        pytest.raises(StartFailed, match=r"drive did not start: CorruptTier.*manifest"),
        launch(declared, flash_folder=tmp_path),
    ):
        pass


def script(body: str) -> str:
    """A controller of its own, so that it can be killed."""
    return textwrap.dedent(
        """
        import sys, time, os, signal
        sys.path[:0] = {paths!r}
        import importlib.util
        spec = importlib.util.spec_from_file_location("twins", {conftest!r})
        twins = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(twins)
        from controller.launch import launch
        declared = twins.topology(("a", "h", twins.device_spec()), ("b", "h", twins.device_spec()))
        """
    ).format(paths=sys.path, conftest=str(Path(__file__).parent / "conftest.py")) + textwrap.dedent(body)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_controller_that_is_killed(runs_folder: Path, number: signal.Signals) -> None:
    before = {path.name for path in runs_folder.iterdir()}
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script("with launch(declared) as c:\n print(*c.processes.values(), flush=True)\n time.sleep(60)"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # A shell that runs the tests in the background ignores Ctrl-C for all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdout is not None
    processes = [int(word) for word in child.stdout.readline().split()]
    assert len(processes) == 2 and all(psutil.pid_exists(process) for process in processes)
    child.send_signal(number)
    child.wait(10)
    assert eventually(lambda: not any(psutil.pid_exists(process) for process in processes))
    assert eventually(lambda: {path.name for path in runs_folder.iterdir()} <= before | {".lock"})


def test_what_a_crash_left_is_removed_by_the_next_start(twins: SimpleNamespace, runs_folder: Path) -> None:
    """Both the controller and the fork server are killed: nobody is left to clean up but the next launch."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script("with launch(declared) as c:\n print(*c.processes.values(), flush=True)\n time.sleep(60)"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    processes = [int(word) for word in child.stdout.readline().split()]
    server = psutil.Process(processes[0]).parent()
    assert server is not None
    server.suspend()
    child.kill()
    child.wait(10)
    server.kill()
    assert eventually(lambda: not any(psutil.pid_exists(process) for process in processes))
    left = [path for path in runs_folder.iterdir() if path.name == f"run-{child.pid}-1"]
    assert left and (left[0] / "0.sock").exists()
    with launch(twins.topology(("a", "h", twins.device_spec()))):
        assert not left[0].exists()


def test_a_node_that_cannot_start_is_named(twins: SimpleNamespace, tmp_path: Path) -> None:
    declared = twins.topology(("drive", "host0", twins.device_spec("csd", flash=True)))
    with (
        launch(declared, flash_folder=tmp_path),
        pytest.raises(StartFailed, match=r"drive did not start: BufferExists.*in use"),
        launch(declared, flash_folder=tmp_path),
    ):
        pass


def test_a_detached_cluster_is_found_used_and_stopped(twins: SimpleNamespace, runs_folder: Path) -> None:
    declared = twins.topology(("a", "h", twins.device_spec()), ("b", "h", twins.device_spec("cpu")))
    made = start_detached(declared, "bench")
    try:
        assert [(name, kind, alive) for name, kind, _, alive in made.devices] == [
            ("a", "gpu", True),
            ("b", "cpu", True),
        ]
        assert [cluster.name for cluster in list_running()] == ["bench"]
        with pytest.raises(StartFailed, match="bench"):
            start_detached(declared, "bench")
        with connect("bench", declared) as cluster:
            cluster.clients["a"].allocate("x", "hbm", "fp32", (4,))
            with pytest.raises(UserError, match="another program runs on bench"):
                connect("bench", declared)
        with connect("bench", declared) as cluster:
            assert [buffer.name for buffer in cluster.clients["a"].describe().buffers] == ["x"]
        os.kill(made.devices[1][2], signal.SIGKILL)
        assert eventually(lambda: not list_running()[0].devices[1][3])
        with pytest.raises(DeviceUnreachable, match="b of bench"):
            connect("bench", declared)
    finally:
        stop("bench")
    assert list_running() == ()
    assert not (runs_folder / "bench").exists()
    with pytest.raises(UserError, match="bench"):
        stop("bench")


def test_a_node_ends_when_it_is_asked_to(twins: SimpleNamespace) -> None:
    with launch(twins.topology(("a", "h", twins.device_spec()))) as cluster:
        cluster.clients["a"].shutdown()
        with pytest.raises(DeviceUnreachable, match="a ended with exit status 0"):
            assert eventually(lambda: cluster.check())  # type: ignore[func-returns-value]
