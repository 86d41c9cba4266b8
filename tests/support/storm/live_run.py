"""One live run as a process of its own: how far it is, who its nodes are, how it ended and what it left."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, sleep
from typing import Any

import psutil

from controller.launch.cluster_file import read_cluster_file
from controller.launch.run_directory import read_processes, remove_stale

PYTHON = sys.executable
REPOSITORY = Path(__file__).resolve().parents[3]
WORKS = {
    "decode": "run instinfer --live --model tiny-opt --topology a6000_2csd --batch 2 --prompt-tokens 32 "
    "--output-tokens 48",
    "train": "run fuyou --live --set ssd.count=2 --batch 2 --seq 16 --steps 12 --topology server_4090 --model "
    + str(Path(__file__).with_name("tiny_gpt.json")),
}
STEPS = {"decode": 48, "train": 12}
"""How many steps each has; they are told as lines of progress."""
PACE = {"decode": 500, "train": 1000}
"""Slow enough for machines that are slower than any that tests run on: the least that is feasible here is about 390."""
TWO_CHASSIS = str(REPOSITORY / "tests/live/two_chassis.yaml")
NODE_TIMEOUT_S = 2.0
_STEPS = re.compile(r"(?:decode|training): (\d+)/\d+$")
REMOVE_S = 10.0
_TICK_S = 0.02


class LiveRun:
    """A command in a session and a folder of its own.

    Attributes:
        folder: `WINDTUNNEL_RUNS` of the run.
        on_ray: nodes are on a Ray cluster of this machine, whose own processes know the folder too.
        lines: of standard error so far.
        logs: of the nodes, as last seen, by file name.
    """

    def __init__(self, words: Sequence[str], folder: Path | None = None, *, on_ray: bool = False) -> None:
        self.folder, self.on_ray = folder or new_folder(), on_ray
        self.lines: list[str] = []
        self.logs: dict[str, str] = {}
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - `remove` closes it
        self._said = Condition()
        self.process = subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env={**os.environ, "WINDTUNNEL_RUNS": str(self.folder), "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=self._answer,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the campaign, which ends its run in order
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def nodes(self) -> dict[str, int]:
        """Process id by device; empty as long as not every node listens."""
        if self.on_ray:  # which has a directory for each chassis, and nodes on ports
            return {name: pid for path in self.folder.glob("run-*") for name, pid in read_processes(path)[1].items()}
        for path in self.folder.glob("run-*"):
            _, nodes = read_processes(path)
            if nodes and len(list(path.glob("*.sock"))) >= len(nodes):
                return nodes
        return {}

    def target(self, device: str) -> str:
        """Where a node listens, "" when the run is over."""
        for path in self.folder.glob("run-*"):
            if content := read_cluster_file(path):
                return str(content["devices"][device]["target"])
        return ""

    def steps(self) -> int:
        """How many steps are done."""
        return max((int(match[1]) for line in list(self.lines) if (match := _STEPS.search(line))), default=0)

    def reach(self, steps: int, until: float) -> bool:
        """Waits until so many steps are done and every node listens; False when the run ends, or time, before."""
        return self.until(lambda: self.steps() >= steps and bool(self.nodes()), until)

    def until(self, there: Callable[[], bool], until: float) -> bool:
        """Waits for something; False when the run ends, or time, before."""
        return self._wait(there, until) and self.process.poll() is None

    def end(self, until: float) -> bool:
        """Waits for the end; False when it has not come in time."""
        ended = self._wait(lambda: self.process.poll() is not None, until)
        self._reader.join(1.0)
        return ended

    def answer(self) -> dict[str, Any]:
        """What the command printed as JSON; empty when it did not."""
        self._answer.seek(0)
        try:
            content = json.loads(self._answer.read() or b"{}")
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def left(self, within_s: float) -> list[str]:
        """What is still there of the run when this time has passed after its end, waiting for as long at most."""
        until = monotonic() + within_s
        while (found := leftovers(self.folder, by_environment=not self.on_ray)) and monotonic() < until:
            if self.on_ray:  # it may kill a fork server with its actor: the next run there removes what that had
                remove_stale(self.folder)
            sleep(_TICK_S)
        return found

    def remove(self) -> None:
        """Ends what lives and removes the folder."""
        if self.process.poll() is None:
            self.process.kill()  # first, so that nobody starts another one
        self.process.wait()
        until = monotonic() + REMOVE_S
        while (living := processes_of(self.folder, by_environment=not self.on_ray)) and monotonic() < until:
            for process in living:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            sleep(_TICK_S)
        self._reader.join(5.0)
        self._answer.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()

    def _note_logs(self) -> None:
        """Keeps what nodes have logged so far; the run may remove its folder while it is looked at."""
        try:
            logs = list(self.folder.glob("run-*/*.log"))
        except FileNotFoundError:
            return
        for log in logs:
            try:
                self.logs[log.name] = log.read_text(errors="replace")
            except OSError:
                continue

    def _wait(self, there: Callable[[], bool], until: float) -> bool:
        while not there():
            self._note_logs()
            if monotonic() > until or (self.process.poll() is not None and not there()):
                return False
            with self._said:
                self._said.wait(_TICK_S)
        return True


def new_folder() -> Path:
    """A folder for one run."""
    return Path(tempfile.mkdtemp(prefix="ws-", dir="/tmp"))  # short: a socket path has little room


def start(work: str, way: str = "plain", folder: Path | None = None, address: str = "") -> LiveRun:
    """Starts one of WORKS, in one of WAYS; on Ray in the folder that its cluster at `address` was given."""
    command = [str(REPOSITORY / ".venv/bin/windtunnel"), *WORKS[work].split(), "--json"]
    command += ["--node-timeout", f"{NODE_TIMEOUT_S:g} s"]
    if way == "pace":
        command += ["--pace", str(PACE[work])]
    if way == "ray":
        command += ["--topology", TWO_CHASSIS, "--ray", address]
    return LiveRun(command, folder, on_ray=way == "ray")


def leftovers(folder: Path, *, by_environment: bool = True) -> list[str]:
    """Processes and files that are there of a run."""
    found = [f"process {process.pid}" for process in processes_of(folder, by_environment=by_environment)]
    return found + sorted(f"file {path.name}" for path in folder.iterdir() if path.name != ".lock")


def processes_of(folder: Path, *, by_environment: bool = True) -> list[psutil.Process]:
    """Those whose command line, or environment, names a folder."""
    name, found = os.fsencode(folder), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:  # both are empty for a process that has ended and waits for its parent
            if name in (entry / "cmdline").read_bytes() or (
                by_environment and name in (entry / "environ").read_bytes()
            ):
                found.append(psutil.Process(int(entry.name)))
        except (OSError, psutil.NoSuchProcess):
            continue
    return found
