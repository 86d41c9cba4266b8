"""A step over several drives is there on all of them or on none, wherever between two messages they are killed."""

from __future__ import annotations

import os
import signal
from functools import partial

import numpy as np
import pytest

from controller.launch import launch

pytestmark = pytest.mark.live

SIZE = 100_000
DRIVES = ("drive0", "drive1")


def state(step: int, drive: int) -> np.ndarray:
    return np.random.default_rng([step, drive]).integers(0, 256, SIZE, np.uint8)


def test_kills_between_any_two_messages(twins, tmp_path) -> None:
    declared = twins.topology(*((name, "host0", twins.device_spec("csd", flash=True)) for name in DRIVES))
    acknowledged = 0
    # How many of the four messages (prepare on each, then commit on each) arrive, and who is killed then.
    attempts = [(4, DRIVES), (0, DRIVES), (1, DRIVES[:1]), (1, DRIVES[1:]), (2, DRIVES), (3, DRIVES[:1]), (3, DRIVES)]
    for arriving, victims in [*attempts, (4, ())]:
        with launch(declared, flash_folder=tmp_path) as cluster:
            clients = [cluster.clients[name] for name in DRIVES]
            if not acknowledged:
                for client in clients:
                    client.allocate("state", "flash", "uint8", (SIZE,))
            else:
                for number, client in enumerate(clients):
                    assert np.array_equal(client.read("state"), state(acknowledged, number))
            step = acknowledged + 1
            for number, client in enumerate(clients):
                client.write("state", state(step, number))
            name = f"step-{step}-{arriving}-{len(victims)}-{'-'.join(victims)}"
            messages = [partial(client.prepare, name, DRIVES) for client in clients]
            messages += [partial(client.commit, name) for client in clients]
            for send in messages[:arriving]:
                send()
            for victim in victims:
                os.kill(cluster.processes[victim], signal.SIGKILL)
        if arriving >= len(DRIVES):  # all had prepared: it may have been acknowledged, so it has to be there
            acknowledged = step
    assert acknowledged == 5


def test_what_a_cluster_commits_is_found_by_the_next(twins, tmp_path) -> None:
    declared = twins.topology(*((name, "host0", twins.device_spec("csd", flash=True)) for name in DRIVES))
    with launch(declared, flash_folder=tmp_path) as cluster:
        for number, name in enumerate(DRIVES):
            cluster.clients[name].allocate("state", "flash", "uint8", (SIZE,))
            cluster.clients[name].write("state", state(1, number))
        assert cluster.commit() >= 2 * SIZE
        cluster.clients["drive0"].write("state", state(2, 0))
        assert cluster.commit(["drive0"]) >= SIZE
    with launch(declared, flash_folder=tmp_path) as cluster:
        assert np.array_equal(cluster.clients["drive0"].read("state"), state(2, 0))
        assert np.array_equal(cluster.clients["drive1"].read("state"), state(1, 1))
