"""Many nodes at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from controller.launch import launch

pytestmark = pytest.mark.live


def test_sixty_four_nodes_start_serve_and_leave_nothing(twins: SimpleNamespace, runs_folder: Path) -> None:
    specs = [twins.device_spec() for _ in range(64)]
    declared = twins.topology(*((f"csd{index}", "host0", spec) for index, spec in enumerate(specs)))
    began = time.monotonic()
    with launch(declared) as cluster:
        start_s = time.monotonic() - began
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(lambda client: client.describe().device, cluster.clients.values()))
        assert names == list(declared.devices)
        assert len(set(cluster.processes.values())) == 64
        processes = list(cluster.processes.values())
    assert start_s < 20, "the benchmark holds this to 4 s; a test machine may be busy"
    assert not any(psutil.pid_exists(process) for process in processes)
