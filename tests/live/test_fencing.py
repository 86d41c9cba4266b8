"""A node that wakes after it was replaced writes nothing: neither to its drive nor to the nodes of the next run."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from controller.launch import Listening, launch
from node.client import NodeClient
from node.errors import Fenced, NodeError

pytest.importorskip("cryptography")
pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
APART = Listening({"h0": "127.0.0.1"})
LONG_S = 200.0


def test_a_frozen_remote_node_is_replaced_and_writes_nothing_when_it_wakes(
    twins: SimpleNamespace, tmp_path: Path
) -> None:
    declared = twins.topology(("drive", "h0", twins.device_spec("csd", flash=True)))
    values = np.arange(1000, dtype=np.int32)
    with launch(declared, flash_folder=tmp_path, listening=APART, node_timeout_s=LONG_S) as old:
        woken = old.clients["drive"]
        woken.allocate("kept", "flash", "int32", (1000,))
        woken.write("kept", values)
        old.commit(["drive"])
        os.kill(old.processes["drive"], signal.SIGSTOP)
        with launch(declared, flash_folder=tmp_path, listening=APART, take_over=True) as new:
            client = new.clients["drive"]
            np.testing.assert_array_equal(client.read("kept"), values)
            client.write("kept", values * 2)
            new.commit(["drive"])
            os.kill(old.processes["drive"], signal.SIGCONT)
            with pytest.raises(Fenced, match="epoch 1 of this node is over"):
                woken.write("kept", values * 3)
            with pytest.raises(Fenced):
                woken.prepare("late", ["drive"])
            # What the old run knows does not open the nodes of the new one: every call shows the token of its run.
            there = new.whereabouts.targets["drive"]
            stranger = NodeClient(there, "drive", deadline_s=5.0, credentials=old.whereabouts.credentials)
            with pytest.raises(NodeError):
                stranger.write("kept", values * 4)
            np.testing.assert_array_equal(client.read("kept"), values * 2)
    with launch(declared, flash_folder=tmp_path) as last:
        np.testing.assert_array_equal(last.clients["drive"].read("kept"), values * 2)
