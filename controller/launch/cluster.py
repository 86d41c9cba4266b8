"""A running cluster: one client for each device, and word of any that dies."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Self

from controller.clock import wall_clock_s
from controller.errors import DeviceUnreachable, StartFailed, UserError
from controller.launch.fork_server import ARBITER, ForkServer
from controller.launch.preflight import Needs, preflight
from controller.launch.run_directory import create_run_directory, write_cluster_file
from controller.topology.schema import Topology
from node.client import ArbiterClient, NodeClient

START_S = 60.0
"""How long nodes may take to serve [s of wall time]."""
_MAX_PACE = 1e9
"""The largest dilation: a microsecond of the device takes a quarter of an hour [ratio]."""
_LAST_WORDS_S = 1.0
"""How long a broken connection waits for word of how the process ended [s of wall time]."""
_CLOCK_LEAD_S = 0.05
"""Device time 0 lies this far ahead when clocks are started, so that the first batch is not late [s of wall time]."""


class Cluster:
    """Node processes of a topology.

    Attributes:
        topology: as declared.
        clients: by device, in the order of the topology.
        pace: wall time over device time; None without pacing.
        epoch: instant of the monotonic clock that is device time 0 [s].
    """

    def __init__(
        self,
        topology: Topology,
        targets: Mapping[str, str],
        arbiter: str,
        pace: float | None,
        epoch: float,
        server: ForkServer | None,
    ) -> None:
        self.topology, self.pace, self.epoch = topology, pace, epoch
        self._server = server
        self._dead: dict[str, DeviceUnreachable] = {}
        self._died = Condition()
        self.clients: Mapping[str, NodeClient] = {
            name: NodeClient(target, name, partial(self._unreachable, name)) for name, target in targets.items()
        }
        self._arbiter = ArbiterClient(arbiter, DeviceUnreachable) if arbiter else None

    @property
    def processes(self) -> Mapping[str, int]:
        """Process id by device."""
        if self._server is None:
            return {name: client.describe().process for name, client in self.clients.items()}
        return {name: pid for name, pid in self._server.processes.items() if name != ARBITER}

    def await_health(self, timeout_s: float = START_S) -> None:
        """Asks every node whether it serves.

        Raises:
            StartFailed: one does not.
        """

        def ask(client: NodeClient) -> None:
            if not client.is_serving(timeout_s):
                raise StartFailed(f"{client.device} runs but says that it does not serve")

        self._each(ask)

    def check(self) -> None:
        """Does nothing as long as every node lives.

        Raises:
            DeviceUnreachable: names the first that died.
        """
        for error in self._dead.values():
            raise error

    def start_clocks(self) -> None:
        """Sets device time 0 of every node to now; nothing may be running."""
        self.epoch = wall_clock_s() + (_CLOCK_LEAD_S if self.pace is not None else 0.0)
        self._each(lambda client: client.start_clock(self.epoch))
        if self._arbiter is not None:
            self._arbiter.start_clock(self.epoch)

    def device_now(self) -> float:
        """Device time [s]; 0 without pacing, where only the ends of commands say how far it has come."""
        return max(0.0, wall_clock_s() - self.epoch) / self.pace if self.pace is not None else 0.0

    def commit(self) -> None:
        """Makes what was written to flash survive, on every device."""
        self._each(lambda client: client.commit())

    def close(self) -> None:
        """Ends every process and removes everything that the run left; a cluster that was connected to goes on."""
        atexit.unregister(self.close)
        if self._server is not None:
            self._server.stop()
            self._server = None
        for client in self.clients.values():
            client.close()
        if self._arbiter is not None:
            self._arbiter.close()

    def died(self, name: str, how: str) -> None:
        """A process of the run has ended."""
        tail = self._server.log_tail(name) if self._server is not None else ""
        error = DeviceUnreachable(f"{name} {how}{tail}; the run cannot go on without it, start it again")
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

    def _unreachable(self, name: str, text: str) -> DeviceUnreachable:
        """The error of a node that does not answer: how it died, which is heard of a moment after its socket broke."""
        with self._died:
            if self._server is not None:
                self._died.wait_for(lambda: name in self._dead, _LAST_WORDS_S)
            return self._dead.get(name) or DeviceUnreachable(text)

    def _each(self, act: Callable[[NodeClient], object]) -> None:
        """Calls all nodes at once."""
        with ThreadPoolExecutor(min(16, max(1, len(self.clients)))) as pool:
            for future in [pool.submit(act, client) for client in self.clients.values()]:
                future.result()


def start(
    topology: Topology, pace: float | None, flash_folder: Path | None, needs: Needs, name: str, *, detached: bool
) -> Cluster:
    """Starts the nodes of a topology and waits until all serve; leaves nothing behind when that fails."""
    if pace is not None and not 0 < pace <= _MAX_PACE:
        raise UserError(
            f"pace {pace:g} is not a dilation; give wall seconds per device second, above 0 and at most {_MAX_PACE:g}"
        )
    preflight(topology, needs, flash_folder=flash_folder)
    run = create_run_directory(name)
    epoch = wall_clock_s()
    content = write_cluster_file(run.path, topology, epoch, pace, flash_folder)
    early: list[tuple[str, str]] = []
    cluster: Cluster | None = None

    def died(device: str, how: str) -> None:
        if cluster is None:
            early.append((device, how))
        else:
            cluster.died(device, how)

    server = ForkServer(run, detached=detached, died=died)
    try:
        names = [*topology.devices, *([ARBITER] if content["arbiter"] else [])]
        server.await_ready(names, START_S)
        targets = {device: entry["target"] for device, entry in content["devices"].items()}
        cluster = Cluster(topology, targets, content["arbiter"], pace, epoch, server)
        for device, how in early:
            cluster.died(device, how)
        cluster.await_health()
    except BaseException:
        server.stop()
        raise
    if detached:
        server.release()
    else:
        atexit.register(cluster.close)
    return cluster


@contextmanager
def launch(
    topology: Topology, pace: float | None = None, *, flash_folder: Path | None = None, needs: Needs | None = None
) -> Iterator[Cluster]:
    """A cluster for the length of a ``with``.

    Args:
        topology: what to start.
        pace: wall seconds per device second; None answers as fast as the machine can.
        flash_folder: where flash tiers lie, by device, and stay; None puts them into the run directory.
        needs: bytes that will be allocated, by (device, tier), for the preflight [bytes].

    Raises:
        PreflightFailed: the machine lacks memory, disk or files.
        StartFailed: a node did not become ready.
    """
    cluster = start(topology, pace, flash_folder, needs or {}, "", detached=False)
    try:
        yield cluster
    finally:
        cluster.close()
