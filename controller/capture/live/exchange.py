"""Bytes from rank to rank through the memory of their nodes."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from controller.errors import DeviceUnreachable
from node.client import NodeClient

NODES: Final = "WINDTUNNEL_TORCH_NODES"
"""Variable that tells a rank the devices of all ranks, their tiers, and where their nodes listen, as JSON."""
KEPT: Final = 2
"""Messages that a rank leaves in its node's memory, beside the one that is read now."""
Bytes = npt.NDArray[np.uint8]


class NodeExchange:
    """What the ranks of one communicator give each other.

    Args:
        store: of the process group: where ranks say that something is there.
        name: of the group, equal on all of its ranks.
        ranks: global ranks, by rank in the group.
        rank: of this one, in the group.
        timeout_s: how long a rank waits for another [s].
    """

    def __init__(self, store: Any, name: str, ranks: Sequence[int], rank: int, timeout_s: float) -> None:
        told = json.loads(os.environ[NODES])
        self._store, self._name, self._rank = store, name, rank
        self._ranks = tuple(ranks)
        self._timeout_s = timeout_s
        self._devices = [told["devices"][number] for number in self._ranks]
        self._tier = told["tier"]
        self._clients = {
            device: NodeClient(target, device, mapped=target.startswith("unix:"))
            for device, target in told["targets"].items()
            if device in self._devices
        }
        self._given: deque[tuple[str, str, int]] = deque()

    @property
    def size(self) -> int:
        """Ranks of the group."""
        return len(self._ranks)

    def give(self, key: str, data: Bytes, readers: int) -> None:
        """Writes `data` into the memory of this rank's node, for `readers` others."""
        client = self._clients[self._devices[self._rank]]
        name = f"{self._tier}/torch/{self._name}/{key}"
        while len(self._given) > KEPT:
            self._take_back(*self._given.popleft())
        client.allocate(name, self._tier, "uint8", (max(data.size, 1),))
        if data.size:
            client.write(name, data)
        self._store.set(f"{key}/there", "1")
        self._given.append((key, name, readers))

    def get(self, key: str, rank: int, nbytes: int, what: str) -> Bytes:
        """What `rank` gave under `key`.

        Args:
            key: of the message.
            rank: in the group.
            nbytes: of it [bytes].
            what: the call, for messages.

        Raises:
            DeviceUnreachable: that rank never came; names its device.
        """
        self._wait(f"{key}/there", rank, what)
        client = self._clients[self._devices[rank]]
        name = f"{self._tier}/torch/{self._name}/{key}"
        data = client.read(name, shape=(nbytes,)) if nbytes else np.zeros(0, np.uint8)
        self._store.add(f"{key}/read", 1)
        return np.asarray(data, np.uint8)

    def close(self) -> None:
        """Takes back what was given and ends the connections."""
        while self._given:
            key, name, readers = self._given.popleft()
            self._take_back(key, name, readers)
        for client in self._clients.values():
            client.close()

    def _take_back(self, key: str, name: str, readers: int) -> None:
        client = self._clients[self._devices[self._rank]]
        if readers:
            # `add` of nothing asks how many have read it; the last of them is never far behind.
            while self._store.add(f"{key}/read", 0) < readers:
                self._wait_a_little()
        client.free(name)

    def _wait_a_little(self) -> None:
        from controller.clock import sleep_s

        sleep_s(0.001)

    def _wait(self, key: str, rank: int, what: str) -> None:
        try:
            self._store.wait([key], timedelta(seconds=self._timeout_s))
        except Exception as error:
            device = self._devices[rank]
            raise DeviceUnreachable(
                f"rank {self._ranks[self._rank]} waits in {what} of group {self._name} for rank {self._ranks[rank]} "
                f"({device}), which did not come within {self._timeout_s:g} s",
                device,
            ) from error
