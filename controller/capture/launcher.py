"""Captures ranks of a program, each in a process of its own, and further ones as they turn out to be needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.capture.ending import end_process
from controller.capture.errors import NoStep, ProgramFailed, UnsaidValue
from controller.capture.request import CaptureRequest, device_facts, environment_of
from controller.capture.shim_cache import shim_folder
from controller.capture.trace import RankTrace, read_trace
from controller.clock import sleep_s
from controller.collectives.group import Group
from controller.program.run import ProgressSink

AT_ONCE = 8
"""Processes at once; a pipeline's stages wait for each other, so no stage may wait for a place for ever."""
ENDED_S = 5.0
WAYS_OUT = ("--oracle", "--live", "kernel_cost")
"""Words of an end that the user can do something about."""


@dataclass
class _Child:
    rank: int
    process: subprocess.Popen[bytes]
    log: Path
    output: Path


def capture_ranks(
    request: CaptureRequest, group: Group, ranks: Sequence[int], *, progress: ProgressSink | None = None
) -> dict[int, RankTrace]:
    """The traces of `ranks`, and of every rank that these exchange messages with, one after the other.

    Raises:
        UnsaidValue: the program branches on a value that nothing says.
        ProgramFailed: the program raised an exception.
        NoStep: it ended without a step.
    """
    shim = shim_folder()
    traces: dict[int, RankTrace] = {}
    children: list[_Child] = []
    with tempfile.TemporaryDirectory(prefix="windtunnel-capture-") as name:
        folder = Path(name)
        waiting, known = deque(ranks), set(ranks)
        try:
            while waiting or children:
                while waiting:
                    children.append(_start(request, group, shim, folder, waiting.popleft()))
                if progress is not None:
                    progress(len(traces), len(known), f"capturing {len(children)} of {group.world_size} ranks")
                sleep_s(0.05)
                for child in [child for child in children if child.process.poll() is not None]:
                    children.remove(child)
                    traces[child.rank] = _finished(child)
                    _extend(waiting, known, traces[child.rank].peers)
                _extend(waiting, known, [int(found.suffix[1:]) for found in folder.glob("want.*")])
        finally:
            for child in children:
                end_process(child.process, ENDED_S)
    return dict(sorted(traces.items()))


def _extend(waiting: deque[int], known: set[int], ranks: Sequence[int]) -> None:
    for rank in sorted(ranks):
        if rank not in known:
            known.add(rank)
            waiting.append(rank)


def _start(request: CaptureRequest, group: Group, shim: Path, folder: Path, rank: int) -> _Child:
    log, output = folder / f"log.{rank}", folder / f"output.{rank}"
    asked = folder / f"request.{rank}"
    asked.write_text(json.dumps(inside_request(request, group, rank, shim, folder, log)))
    return _Child(rank, start_inside(asked, output), log, output)


def inside_request(
    request: CaptureRequest, group: Group, rank: int, shim: Path, folder: Path, log: Path
) -> dict[str, Any]:
    """What the captured process is told."""
    environment = environment_of(group, rank)
    spec = request.topology.devices[group.devices[rank]].spec
    return {
        "program": str(request.program.resolve()),
        "arguments": list(request.arguments),
        "shim": str(shim),
        "folder": str(folder),
        "log": str(log),
        "output": str(log.with_name(log.name + ".output")),
        "steps": request.steps,
        "oracle": dict(request.oracle),
        "environment": environment,
        "device": device_facts(spec, int(environment["LOCAL_WORLD_SIZE"])),
    }


def start_inside(asked: Path, output: Path) -> subprocess.Popen[bytes]:
    """A process that captures what the file `asked` says."""
    command = [sys.executable, "-m", "controller.capture.inside.main", str(asked)]
    with output.open("wb") as sink:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
            env=inside_environment(),
        )  # fmt: skip


def inside_environment() -> dict[str, str]:
    """Variables of a process that captures: it finds this package, and does not depend on the machine's cores."""
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def _finished(child: _Child) -> RankTrace:
    if not child.log.exists():
        lines = child.output.read_text(errors="replace").strip().splitlines()
        last = lines[-1] if lines else f"exit code {child.process.returncode}"
        raise ProgramFailed(f"rank {child.rank} could not be captured: {last}")
    return checked(read_trace(child.log))


def checked(trace: RankTrace) -> RankTrace:
    """The trace itself, where the program made steps.

    Raises:
        UnsaidValue, ProgramFailed, NoStep: it did not.
    """
    if trace.ended and not trace.traceback and any(word in trace.ended for word in WAYS_OUT):
        raise UnsaidValue(trace.ended)
    if trace.ended:
        raise ProgramFailed(f"rank {trace.rank}: {trace.ended}")
    if not trace.steps:
        raise NoStep(
            "the program ended without a step of an optimizer; windtunnel finds training steps by "
            "torch.optim.Optimizer.step: call it, or run a program that trains"
        )
    if trace.steps < 2:
        raise NoStep("the program made one step; the first one warms up and is not measured: let it make 2 or more")
    return trace
