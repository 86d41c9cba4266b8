"""Starts nodes and ranks, watches both, and ends all of them when one ends badly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from controller.capture.ending import end_process
from controller.capture.errors import RankDied
from controller.capture.launcher import inside_environment
from controller.capture.live.backend import nodes_of
from controller.capture.live.exchange import NODES
from controller.capture.request import CaptureRequest, environment_of
from controller.clock import sleep_s, wall_clock_s
from controller.collectives.group import only
from controller.launch import launch, preflight
from controller.program.run import ProgressSink

POLL_S = 0.05
PATIENCE_S = 3.0
"""How long the other ranks may take to say for whom they wait, once one has died."""


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """What the ranks printed, by rank, and how long it took [s of wall time]."""

    output: tuple[str, ...]
    wall_s: float


def run_live_ranks(request: CaptureRequest, *, progress: ProgressSink | None = None) -> LiveOutcome:
    """Runs the program on every rank with real values, until all have ended.

    Raises:
        RankDied: a rank ended with an error, or was killed; names it and its last line.
        DeviceUnreachable: a node died; names its device.
    """
    group = request.group()
    bare = only(request.topology, group)
    started = wall_clock_s()
    preflight(bare, {})
    with launch(bare) as cluster, tempfile.TemporaryDirectory(prefix="windtunnel-live-") as folder:
        told, port = nodes_of(cluster, group.devices), _free_port()
        outputs = [Path(folder) / f"rank.{rank}" for rank in range(group.world_size)]
        command = [sys.executable, "-m", "controller.capture.live.main", str(request.program.resolve())]
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank, output in enumerate(outputs):
                environment = {**inside_environment(), **environment_of(group, rank)}
                environment |= {"MASTER_PORT": str(port), NODES: told}
                with output.open("wb") as sink:
                    ranks.append(
                        subprocess.Popen(
                            [*command, *request.arguments], stdin=subprocess.DEVNULL, stdout=sink,
                            stderr=subprocess.STDOUT, env=environment, start_new_session=True,
                        )
                    )  # fmt: skip
            while any(process.poll() is None for process in ranks):
                cluster.check()
                if progress is not None:
                    progress(sum(process.poll() is not None for process in ranks), len(ranks), "ranks ended")
                if any(process.poll() for process in ranks):
                    break
                sleep_s(POLL_S)
            _raise_dead(ranks, outputs, group.devices)
        finally:
            for process in ranks:
                end_process(process, PATIENCE_S)
        return LiveOutcome(tuple(output.read_text(errors="replace") for output in outputs), wall_clock_s() - started)


def _raise_dead(ranks: list[subprocess.Popen[bytes]], outputs: list[Path], devices: tuple[str, ...]) -> None:
    dead = [rank for rank, process in enumerate(ranks) if process.poll()]
    if not dead:
        return
    # A killed rank is the cause; ranks that end with an error may only have waited for it.
    rank = min(dead, key=lambda each: (ranks[each].returncode > 0, each))
    code = ranks[rank].returncode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lines = [line for line in outputs[rank].read_text(errors="replace").strip().splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines and code > 0 else ""
    raise RankDied(f"rank {rank} ({devices[rank]}) {how}{last}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
