"""Captures many programs, one after the other, in forks of one process that has imported torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

from controller.capture.errors import ProgramFailed
from controller.capture.launcher import checked, inside_environment, inside_request
from controller.capture.request import CaptureRequest
from controller.capture.shim_cache import shim_folder
from controller.capture.trace import RankTrace, read_trace
from controller.collectives.group import Group


class CaptureServer:
    """A process that captures single ranks; programs whose ranks exchange messages need `launcher.capture_ranks`."""

    def __init__(self) -> None:
        self._shim = shim_folder()
        self._folder = tempfile.TemporaryDirectory(prefix="windtunnel-capture-")
        command = [sys.executable, "-m", "controller.capture.inside.main", "--serve", str(self._shim)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=inside_environment(), start_new_session=True,
        )  # fmt: skip
        self._count = 0

    def __enter__(self) -> CaptureServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def capture(self, request: CaptureRequest, group: Group, rank: int = 0) -> RankTrace:
        """The trace of one rank.

        Raises:
            ProgramFailed, UnsaidValue, NoStep: as `capture_ranks`.
        """
        self._count += 1
        folder = Path(self._folder.name)
        log, asked = folder / f"log.{self._count}", folder / f"request.{self._count}"
        told = inside_request(request, group, rank, self._shim, folder, log)
        asked.write_text(json.dumps(told))
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{asked}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer or not log.exists():
            output = Path(told["output"])
            lines = output.read_text(errors="replace").strip().splitlines() if output.exists() else []
            raise ProgramFailed(f"rank {rank} could not be captured: {lines[-1] if lines else 'its process ended'}")
        trace = checked(read_trace(log))
        os.unlink(log)
        return trace

    def close(self) -> None:
        """Ends the process and removes its files."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
