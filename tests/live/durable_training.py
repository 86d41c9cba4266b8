"""Training on two drives that something kills in the middle of a commit; run as ``FLASH CONFIG VICTIM MESSAGES``.

It trains until the third commit, lets as many messages of it arrive as MESSAGES says (prepare on each drive in order,
then commit on each), and kills VICTIM: "controller", which is this process, or a drive.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Event
from typing import Any

import numpy as np
import psutil

from controller.execute.live import run_live
from controller.experiment.run_spec import LIVE_DTYPE
from controller.launch import Cluster, launch
from controller.models.catalog import load_model
from controller.models.training_scenario import TrainingScenario
from controller.models.weights import open_weights
from controller.strategies.fuyou import Fuyou, go_on
from controller.topology.loader import load_topology
from node.client import NodeClient

STEPS, BATCH, SEQ = 4, 2, 16
DRIVES = ("ssd0", "ssd1")
STRUCK = 3
"""The commit in which the strike comes."""


def model_of(config: str) -> Fuyou:
    """What is trained: the same in every process."""
    topology = load_topology("server_4090", ("ssd.count=2",))
    shape = load_model(config)
    tokens = np.random.default_rng(4).integers(0, shape.vocab, (STEPS, 1, BATCH, SEQ + 1), np.int64)
    return Fuyou(
        TrainingScenario(
            topology, shape, BATCH, SEQ, STEPS, LIVE_DTYPE, open_weights(shape, 0), tokens, {"sub_group": "60000"}
        )
    )


def states_on(cluster: Cluster, model: Fuyou) -> list[np.ndarray]:
    """The optimizer states of every sub-group, as the drives have them."""
    return [
        np.concatenate([cluster.clients[s.device].read(f"{s.tier}/{s.name}") for s in tensor.buffers])
        for tensor in model.optimizer.states
    ]


def after_every_commit(config: str, flash: Path, then: Callable[[Cluster, Fuyou], None]) -> None:
    """Trains undisturbed, and calls `then` whenever the drives have committed."""
    model = model_of(config)
    with launch(model.scenario.topology, flash_folder=flash) as cluster:
        inner = cluster.commit

        def commit(devices: Any = ()) -> int:
            written = inner(devices)
            then(cluster, model)
            return written

        cluster.commit = commit  # type: ignore[method-assign]
        run_live(model.scenario.topology, [lambda run: go_on(run, model)], cluster)


def struck(flash: Path, config: str, victim: str, messages: int) -> None:
    """Trains until the strike."""
    turn, sent, commits = Condition(), 0, 0
    model = model_of(config)
    with launch(model.scenario.topology, flash_folder=flash) as cluster:
        inner = cluster.commit

        def commit(devices: Any = ()) -> int:
            nonlocal commits
            commits += 1
            return inner(devices)

        def counted(send: Callable[..., Any]) -> Callable[..., Any]:
            def call(client: NodeClient, *arguments: Any) -> Any:
                nonlocal sent
                if commits < STRUCK:
                    return send(client, *arguments)
                with turn:  # one message after the other, so that the strike falls between two of them
                    turn.wait_for(lambda: sent % len(DRIVES) == DRIVES.index(client.device))
                    if sent == messages:
                        _kill(os.getpid() if victim == "controller" else cluster.processes[victim])
                    try:
                        return send(client, *arguments)
                    finally:
                        sent += 1
                        turn.notify_all()

            return call

        cluster.commit = commit  # type: ignore[method-assign]
        NodeClient.prepare = counted(NodeClient.prepare)  # type: ignore[method-assign]
        NodeClient.commit = counted(NodeClient.commit)  # type: ignore[method-assign]
        run_live(model.scenario.topology, [lambda run: go_on(run, model)], cluster)


def _kill(pid: int) -> None:
    """Kills a process, and returns when it is dead."""
    os.kill(pid, signal.SIGKILL)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        Event().wait(0.01)


if __name__ == "__main__":
    struck(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
