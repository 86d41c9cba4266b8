"""The controller's side of the fork server: start it, hear what becomes of the nodes, end it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import node
from controller.clock import wall_clock_s
from controller.errors import StartFailed
from controller.launch.run_directory import RunDirectory, write_server

_STOP_S = 10.0


class ForkServerProcess:
    """One fork server and its report.

    Attributes:
        directory: of the run.
        processes: process id by device.
        targets: where each listens, by device; ARBITER stands for the arbiter.
        dead: how each node that has ended did, by device.
    """

    def __init__(self, run: RunDirectory, *, detached: bool, died: Callable[[str, str], None]) -> None:
        """Starts it; the cluster file must be there.

        Args:
            run: directory, whose lock the server takes over.
            detached: it lives on when this process ends.
            died: called in another thread with device and how, when a node ends.
        """
        self.directory = run.path
        self.processes: dict[str, int] = {}
        self.targets: dict[str, str] = {}
        self.dead: dict[str, str] = {}
        self._died = died
        self._ready: set[str] = set()
        self._failure = ""
        self._closing = False
        self._changed = Condition()
        report, report_end = os.pipe()
        control_end, self._control = os.pipe() if not detached else (-1, -1)
        passed = [end for end in (report_end, control_end, run.lock) if end >= 0]
        package = str(Path(node.__file__ or "").parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "MALLOC_ARENA_MAX": "2",
            "OMP_NUM_THREADS": "1",
            "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR"),
        }
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node.server", str(self.directory)]
                + ["--report", str(report_end)]
                + (["--control", str(control_end)] if control_end >= 0 else []),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=passed,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the controller alone, which then ends the run in order
            )
        write_server(run, self._process.pid)
        run.close()
        os.close(report_end)
        if control_end >= 0:
            os.close(control_end)
        self._reader = Thread(target=self._read, args=(report,), name="fork-server", daemon=True)
        self._reader.start()

    def await_ready(self, names: Collection[str], timeout_s: float) -> None:
        """Blocks until every node has said that it serves.

        Raises:
            StartFailed: one has failed, or they take too long.
        """
        deadline = wall_clock_s() + timeout_s
        with self._changed:
            while not self._ready.issuperset(names):
                if self._failure:
                    raise StartFailed(self._failure)
                for name, how in self.dead.items():
                    raise StartFailed(f"{name or 'the fork server'} {how} before it served{self.log_tail(name)}")
                if not self._changed.wait(max(0.0, deadline - wall_clock_s())):
                    late = [name for name in names if name not in self._ready]
                    raise StartFailed(f"{', '.join(late)} did not start within {timeout_s:g} s; is the machine busy?")

    def log_tail(self, name: str) -> str:
        """The last line of a log in brackets, or "" when it is empty."""
        try:
            lines = (self.directory / f"{name or 'server'}.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f" ({lines[-1].strip()[:300]})" if lines else ""

    def release(self) -> None:
        """Stops listening; a detached server goes on alone."""
        self._closing = True
        # Should it end while this process lives, somebody must take its exit status.
        Thread(target=self._process.wait, name="fork-server-exit", daemon=True).start()

    def stop(self) -> None:
        """Ends every node, waits for it and removes what they left."""
        self._closing = True
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        else:
            self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_S)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _read(self, report: int) -> None:
        with os.fdopen(report) as lines:
            for line in lines:
                self._take(json.loads(line))
        if not self._closing:
            with self._changed:
                self.dead.setdefault("", "ended")
                names = [name for name in self.processes if name not in self.dead]
                self._changed.notify_all()
            for name in names:
                self._died(name, "ended with the fork server")

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            if "started" in message:
                self.processes.update(message["started"])
            elif "ready" in message:
                self._ready.add(message["ready"])
                self.targets[message["ready"]] = message["target"]
            elif "failed" in message:
                self._failure = f"{message['failed']} did not start: {message['type']}: {message['text']}"
            elif "exited" in message:
                self.dead[message["exited"]] = message["how"]
            self._changed.notify_all()
        if "exited" in message and not self._closing:
            self._died(message["exited"], message["how"])
