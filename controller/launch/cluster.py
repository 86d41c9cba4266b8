"""A running cluster: one client for each device, and word of any that dies."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Condition
from types import TracebackType
from typing import Protocol, Self

from controller.clock import wall_clock_s
from controller.errors import DeviceUnreachable, StartFailed
from controller.launch.clocks import clock_offset_s
from controller.launch.heartbeats import Heartbeats
from controller.launch.preflight import MachineSpeed
from controller.launch.settling import commit_together, settle
from controller.topology.schema import Topology
from node.client import ArbiterClient, Credentials, NodeClient
from node.protocol import ARBITER, GROUP_SUFFIX, NODE_TIMEOUT_S

START_S = 60.0
"""How long nodes may take to serve [s of wall time]."""
_LAST_WORDS_S = 1.0
"""How long a broken connection waits for word of how the process ended [s of wall time]."""
_CLOCK_LEAD_S = 0.05
"""Device time 0 lies this far ahead when clocks are started, so that the first batch is not late [s of wall time]."""


class Processes(Protocol):
    """Who owns the processes of a run: a fork server of this machine, or several beyond it."""

    @property
    def processes(self) -> Mapping[str, int]:
        """Process id by device, on its own machine; the arbiter under its own name."""

    def log_tail(self, name: str) -> str:
        """The last line of a log in brackets, or "" when it is empty."""

    def stop(self) -> None:
        """Ends every node, waits for it and removes what they left."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the processes of a run listen.

    Attributes:
        targets: by device, as gRPC names them.
        arbiter: of the links; "" without pacing.
        credentials: of the controller; None when nodes listen on sockets of this machine.
    """

    targets: Mapping[str, str]
    arbiter: str = ""
    credentials: Credentials | None = None


class Cluster:
    """Node processes of a topology.

    Attributes:
        topology: as declared.
        clients: by device, in the order of the topology.
        pace: wall time over device time; None without pacing.
        epoch: instant of this machine's monotonic clock that is device time 0 [s].
        speed: of the slowest machine that carries nodes; None when only this one does, or it was not measured.
        machines: what carries each host, for people; empty when this machine carries all.
    """

    def __init__(
        self,
        topology: Topology,
        whereabouts: Whereabouts,
        pace: float | None,
        epoch: float,
        server: Processes | None,
        speed: MachineSpeed | None = None,
        machines: Mapping[str, str] | None = None,
        node_timeout_s: float = NODE_TIMEOUT_S,
        lock: int = -1,
    ) -> None:
        self.topology, self.pace, self.epoch = topology, pace, epoch
        self.speed, self.machines = speed, machines or {}
        self._server = server
        self._node_timeout_s, self._lock = node_timeout_s, lock
        self._heartbeats: Heartbeats | None = None
        self.when_started: Callable[[], None] | None = None
        self.whereabouts = whereabouts
        self._offsets_s: Mapping[str, float] | None = None
        self._dead: dict[str, DeviceUnreachable] = {}
        self._died = Condition()
        self.clients: Mapping[str, NodeClient] = {
            name: NodeClient(
                target,
                name,
                partial(self._unreachable, name),
                credentials=whereabouts.credentials,
                mapped=target.startswith("unix:"),
            )
            for name, target in whereabouts.targets.items()
        }
        arbiter = whereabouts.arbiter
        lost = partial(DeviceUnreachable, device=ARBITER)
        self._arbiter = ArbiterClient(arbiter, lost, whereabouts.credentials) if arbiter else None

    @property
    def processes(self) -> Mapping[str, int]:
        """Process id by device."""
        if self._server is None:
            return {name: client.describe().process for name, client in self.clients.items()}
        return {name: pid for name, pid in self._server.processes.items() if name != ARBITER}

    def open(self, timeout_s: float = START_S) -> None:
        """Listens to every node from now on, asks whether it serves, and makes them known to each other.

        What an earlier controller left half committed on drives is settled before anybody sees it.

        Raises:
            StartFailed: a node does not serve.
            DeviceUnreachable: one has died.
        """

        def ask(client: NodeClient) -> None:
            if not client.is_serving(timeout_s):
                raise StartFailed(f"{client.device} runs but says that it does not serve")

        # Devices of one process live and die together: one of them is listened to.
        together: dict[str, list[str]] = {}
        for name, target in self.whereabouts.targets.items():
            together.setdefault(target if target.endswith(GROUP_SUFFIX) else name, []).append(name)
        heard = {names[0]: names for names in together.values()}

        def silent(first: str, how: str) -> None:
            for name in heard[first]:
                self.died(name, how)

        self._heartbeats = Heartbeats({first: self.clients[first] for first in heard}, self._node_timeout_s, silent)
        try:
            self._each(ask)
            self._introduce()
            settle(self.clients)
        except BaseException:
            self._heartbeats.close()
            raise

    def _introduce(self) -> None:
        """Tells nodes that chose their ports themselves where the others listen; those with sockets know it."""
        if self.whereabouts.credentials is None:
            return
        addresses = {
            name: (self.topology.devices[name].host, target) for name, target in self.whereabouts.targets.items()
        }
        self._each(lambda client: client.meet(addresses, self.whereabouts.arbiter))

    def check(self) -> None:
        """Does nothing as long as every node lives.

        Raises:
            DeviceUnreachable: names the first that died.
        """
        for error in self._dead.values():
            raise error

    def await_heartbeats(self) -> None:
        """Blocks until every node has been heard of once: from then on silence is counted against it."""
        if self._heartbeats is not None:
            self._heartbeats.await_first()

    @property
    def lost(self) -> frozenset[str]:
        """Devices whose nodes have died or fallen silent."""
        return frozenset(self._dead)

    def start_clocks(self) -> None:
        """Sets device time 0 of every node to now, then calls `when_started`; nothing may be running."""
        offsets_s = self._clock_offsets_s()
        self.epoch = wall_clock_s() + (_CLOCK_LEAD_S if self.pace is not None else 0.0)
        self._each(lambda client: client.start_clock(self.epoch + offsets_s[client.device]))
        if self._arbiter is not None:
            self._arbiter.start_clock(self.epoch + next(iter(offsets_s.values())))  # beside the first device
        if self.when_started is not None:
            self.when_started()

    def device_now(self) -> float:
        """Device time [s]; 0 without pacing, where only the ends of commands say how far it has come."""
        return max(0.0, wall_clock_s() - self.epoch) / self.pace if self.pace is not None else 0.0

    def commit(self, devices: Sequence[str] = ()) -> int:
        """Makes what was written to flash survive, on all of `devices` or on none; returns the bytes written [bytes].

        Args:
            devices: that take part; all that have a flash tier unless said.
        """
        names = tuple(devices) or tuple(
            name
            for name, device in self.topology.devices.items()
            if any(tier.storage == "flash" for tier in device.spec.tiers.values())
        )
        return commit_together([self.clients[name] for name in names])

    def close(self) -> None:
        """Ends every process and removes everything that the run left; a cluster that was connected to goes on."""
        atexit.unregister(self.close)
        if self._heartbeats is not None:
            self._heartbeats.close()
        if self._server is not None:
            self._server.stop()
            self._server = None
        for client in self.clients.values():
            client.close()
        if self._arbiter is not None:
            self._arbiter.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def forget(self) -> None:
        """Leaves a detached cluster to itself."""
        self._server = None
        self.close()

    def died(self, name: str, how: str) -> None:
        """A process of the run has ended."""
        tail = self._server.log_tail(name) if self._server is not None else ""
        error = DeviceUnreachable(f"{name} {how}{tail}; the run cannot go on without it, start it again", name)
        with self._died:
            self._dead[name] = error
            self._died.notify_all()
        if name in self.clients:
            self.clients[name].gone(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _clock_offsets_s(self) -> Mapping[str, float]:
        """What each node's monotonic clock is ahead of this machine's [s]."""
        if self._offsets_s is None:
            far = self.whereabouts.credentials is not None
            self._offsets_s = {name: clock_offset_s(client) if far else 0.0 for name, client in self.clients.items()}
        return self._offsets_s

    def _unreachable(self, name: str, text: str) -> DeviceUnreachable:
        """The error of a node that does not answer: how it died, which is heard of a moment after its socket broke."""
        with self._died:
            if self._server is not None:
                self._died.wait_for(lambda: name in self._dead, _LAST_WORDS_S)
            return self._dead.get(name) or DeviceUnreachable(text, name)

    def _each(self, act: Callable[[NodeClient], object]) -> None:
        """Calls all nodes at once."""
        with ThreadPoolExecutor(min(16, max(1, len(self.clients)))) as pool:
            for future in [pool.submit(act, client) for client in self.clients.values()]:
                future.result()
