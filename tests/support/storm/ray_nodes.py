"""A Ray cluster of two nodes on this machine, for one run of the campaign."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.storm.live_run import PYTHON, REPOSITORY

TRIES = 3
"""Ray gives its own processes 30 s to start, which a busy machine may exceed."""
STOP_S = 120.0
PATIENCE = {"RAY_raylet_start_wait_time_s": "120", "RAY_worker_register_timeout_seconds": "240"}


@contextmanager
def ray_cluster(runs: Path) -> Iterator[str]:
    """The address of a fresh cluster whose nodes have their runs in a folder.

    Raises:
        ChildProcessError: it did not start.
    """
    environment = {**os.environ, **PATIENCE, "WINDTUNNEL_RUNS": str(runs), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryFile("w+") as log:
        for _ in range(TRIES):
            process = subprocess.Popen(
                [PYTHON, str(REPOSITORY / "tests/live/ray_cluster.py")],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            assert process.stdin is not None and process.stdout is not None
            try:
                said = next((line for line in process.stdout if line.startswith("address ")), None)
                if said is not None:
                    yield said.split()[1]
                    return
            finally:
                process.stdin.close()
                process.stdout.close()
                process.wait(STOP_S)
        log.seek(0)
        raise ChildProcessError(f"the Ray cluster did not start: {log.read()[-2000:]}")
