"""Notices nodes that have stopped answering, although their processes live.

Every node says twice a second that it lives. The controller counts its own turns, twice a second too, in which it heard
nothing of a node: time in which the controller itself stood still (a stopped process, a closed lid) is no turn, so it
does not count against anybody. A node that goes on before the timeout is as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from threading import Event as Gate
from threading import Thread

from controller.errors import UserError
from node.client import NodeClient
from node.protocol import HEARTBEAT_S

LEAST_TIMEOUT_S, MOST_TIMEOUT_S = 2 * HEARTBEAT_S, 3600.0
_FIRST_WORD_S = 10.0
"""How long the first heartbeat may take, when a busy machine starts many nodes at once [s of wall time]."""

_LOOK_S = 0.05


def check_node_timeout(timeout_s: float) -> None:
    """Raises UserError for a timeout that would blame every node, or none in time."""
    if not LEAST_TIMEOUT_S <= timeout_s <= MOST_TIMEOUT_S:
        raise UserError(
            f"a node timeout of {timeout_s:g} s; nodes say every {HEARTBEAT_S:g} s that they live: give "
            f"{LEAST_TIMEOUT_S:g} s to {MOST_TIMEOUT_S:g} s"
        )


class Heartbeats:
    """Listens to every node of a cluster until it is closed."""

    def __init__(self, clients: Mapping[str, NodeClient], timeout_s: float, silent: Callable[[str, str], None]) -> None:
        """Begins to listen.

        Args:
            clients: by device.
            timeout_s: how long a node may be silent [s of wall time].
            silent: called in another thread with device and what happened, once for each node that is.
        """
        self._timeout_s, self._silent = timeout_s, silent
        self._closed = Gate()
        # Turns since a node was heard of; what is left of a longer wait for the first word counts as heard of already.
        self._heard = dict.fromkeys(clients, False)
        self._quiet = dict.fromkeys(clients, -ceil(max(0.0, _FIRST_WORD_S - timeout_s) / HEARTBEAT_S))
        for name, client in clients.items():
            Thread(target=self._listen, args=(name, client), name=f"heartbeats.{name}", daemon=True).start()
        Thread(target=self._count, name="heartbeats", daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self._closed.set()

    def await_first(self) -> None:
        """Blocks until every node has been heard of, or has fallen silent, or `_FIRST_WORD_S` have passed."""
        for _ in range(ceil(_FIRST_WORD_S / _LOOK_S)):
            if all(heard for heard in self._heard.values()) or self._closed.wait(_LOOK_S):
                return

    def _listen(self, name: str, client: NodeClient) -> None:
        while not self._closed.is_set() and name in self._quiet:
            try:
                for _ in client.heartbeats():
                    if name not in self._quiet:
                        return
                    self._quiet[name] = 0
                    self._heard[name] = True
            except Exception:
                self._closed.wait(HEARTBEAT_S)

    def _count(self) -> None:
        most = ceil(self._timeout_s / HEARTBEAT_S)
        while not self._closed.wait(HEARTBEAT_S):
            for name in list(self._quiet):
                self._quiet[name] += 1
                if self._quiet[name] > most:
                    del self._quiet[name]
                    self._heard[name] = True
                    self._silent(name, f"has not answered for {self._timeout_s:g} s, although its process lives")
