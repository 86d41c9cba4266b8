"""Runs that last longer than the deadline of the streams which carry them: nothing is lost, and nobody notices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from controller.launch import Cluster, launch
from node import protocol
from node.client import CommandCompletion, LaunchKernel, Operand, Push

pytestmark = pytest.mark.live
DEADLINE_S, CALL_S = 3.0, 0.5
DILATION = 20.0
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that gives the streams of a process short deadlines."""
    folder = tmp_path_factory.mktemp("short")
    text = f"from node import protocol\nprotocol.STREAM_DEADLINE_S, protocol.STREAM_CALL_S = {DEADLINE_S}, {CALL_S}\n"
    (folder / "sitecustomize.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def paced(twins: SimpleNamespace, patched: Path) -> Iterator[Cluster]:
    """Two GPUs and a drive, whose streams, and ours, end after `DEADLINE_S` at the latest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(patched), prepend=os.pathsep)
        patch.setattr(protocol, "STREAM_DEADLINE_S", DEADLINE_S)
        patch.setattr(protocol, "STREAM_CALL_S", CALL_S)
        declared = twins.topology(
            ("a", "h", twins.device_spec()),
            ("b", "h", twins.device_spec()),
            ("c", "h2", twins.device_spec("csd", flash=True)),
        )
        with launch(declared, pace=DILATION) as cluster:
            for client in cluster.clients.values():
                client.allocate("x", "hbm", "uint8", (30_000_000,))
            yield cluster


def push(event: int, source: str, target: str, size: int, **options: object) -> Push:
    links = (f"{source}-root>", f"{target}-root<")
    whole = Operand("x", 0, (size,))
    return Push(event, whole, ((target, whole),), out_port="pcie", in_port="pcie", links=links, **options)


def ended(cluster: Cluster, **batches: list[LaunchKernel | Push]) -> dict[int, CommandCompletion]:
    ready_at = cluster.device_now()
    futures = [cluster.clients[device].submit(commands, ready_at=ready_at) for device, commands in batches.items()]
    done = {entry.id: entry for future in futures for entry in future.result(60)}
    assert not [entry.error for entry in done.values() if entry.error]
    return done


def test_a_batch_that_takes_longer_than_the_deadline_is_replied_to(paced: Cluster) -> None:
    began = time.monotonic()
    done = ended(paced, a=[LaunchKernel(1, "delay", (), (), {"seconds": 0.2})])
    assert time.monotonic() - began > DEADLINE_S
    assert done[1].end_at - done[1].start_at == pytest.approx(0.2, rel=0.01) or done[1].overrun


def test_a_push_that_takes_longer_than_the_deadline_arrives(paced: Cluster) -> None:
    """Its grants, of the peer and of the arbiter, come over several calls; then a peer that waits is told."""
    values = np.random.default_rng(3).integers(0, 256, 20_000_000, np.uint8)
    paced.clients["a"].write("x", values)
    began = time.monotonic()
    waiting = LaunchKernel(12, "delay", (), (), {"seconds": 0.001}, wait=(11,))
    done = ended(paced, a=[push(11, "a", "c", values.size, notify=("b",))], b=[waiting])
    assert time.monotonic() - began > DEADLINE_S
    assert done[12].start_at >= done[11].end_at
    assert np.array_equal(paced.clients["c"].read("x")[: values.size], values)


def test_batches_and_events_keep_their_order_over_many_calls(paced: Cluster) -> None:
    began, event = time.monotonic(), 100
    while time.monotonic() - began < 1.3 * DEADLINE_S:
        first = LaunchKernel(
            event, "delay", (), (), {"seconds": 1e-4}, wait=(event - 1,) if event > 100 else (), notify=("b",)
        )
        second = LaunchKernel(event + 1, "delay", (), (), {"seconds": 1e-4}, wait=(event,), notify=("a",))
        done = ended(paced, a=[first], b=[second])
        assert done[event + 1].start_at >= done[event].end_at
        event += 2
    assert event > 110


def test_a_whole_run_has_equal_values(patched: Path) -> None:
    words = "run instinfer --live --model tiny-opt --topology a6000_2csd --batch 2 --output-tokens 120"
    run = subprocess.run(
        [Path(sys.executable).with_name("windtunnel"), *words.split(), "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{patched}:{REPOSITORY}", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["tokens_equal"] == answer["tokens_compared"] > 0
    assert answer["phases_wall_s"]["run"] > DEADLINE_S
