"""Nodes on the machines of a Ray cluster (optional extra `ray`), so that a topology may be larger than one machine.

Each machine of the cluster that takes part has one actor with a fork server of its own (`place.py`). The devices of one
declared host stay together, so that they share memory; hosts are spread. Everything between nodes is TLS with a token.
What Ray carries is what starts and ends processes, no value of a run and no time: the declared devices, and to each
machine the token and the certificates of its own devices. Whoever reads Ray's traffic could join the run with them, so
on a network of strangers Ray needs its own TLS (``RAY_USE_TLS``). Ports are chosen by the system; machines must reach
each other on all of them.

Who checks what before anything starts: each machine its memory, disk and open files for the hosts it carries, and with
pacing its speed, of which the slowest counts. (Several Ray nodes on one machine each count all of it as theirs.) The
machine that asks carries no node and is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from controller.clock import wall_clock_s
from controller.errors import UserError
from controller.launch.certificates import CONTROLLER, make_credentials
from controller.launch.cluster import START_S, Cluster, Whereabouts
from controller.launch.cluster_file import cluster_content
from controller.launch.heartbeats import check_node_timeout
from controller.launch.listening import listening_on
from controller.launch.place import NodePlace, Started
from controller.launch.preflight import MachineSpeed, Needs, demand_of
from controller.launch.ray_session import RayLost, ray_errors, ray_session
from controller.launch.start import check_pace
from controller.topology.schema import Topology
from node.client import Credentials
from node.protocol import ARBITER, NODE_TIMEOUT_S

_POLL_S = 1.0
_STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the cluster.

    Attributes:
        identity: as Ray names it.
        address: that the others reach it by.
    """

    identity: str
    address: str

    @property
    def label(self) -> str:
        """For people: several may have one address where a cluster is tried out on one machine."""
        return f"Ray node {self.address} ({self.identity[:8]})"


@dataclass(frozen=True, slots=True)
class MachineShare:
    """What one machine carries: some hosts of the topology, whole."""

    machine: Machine
    hosts: tuple[str, ...]


def deal_hosts(topology: Topology, needs: Needs, machines: Sequence[Machine]) -> tuple[MachineShare, ...]:
    """Which machine carries which hosts; machines that carry none are left out.

    Hosts come in the order of declaration, each to the machine with the least to hold so far [bytes]; of equal ones to
    the first.

    Raises:
        UserError: no machine.
    """
    if not machines:
        raise UserError("no machine of the Ray cluster offers a core (num_cpus); start one with `ray start`")
    hosts = dict.fromkeys(device.host for device in topology.devices.values())
    held_bytes = [0] * len(machines)
    dealt: list[list[str]] = [[] for _ in machines]
    for host in hosts:
        place = held_bytes.index(min(held_bytes))
        held_bytes[place] += demand_of(topology, needs, (host,)).ram_bytes
        dealt[place].append(host)
    return tuple(MachineShare(machine, tuple(mine)) for machine, mine in zip(machines, dealt, strict=True) if mine)


class RayProcesses:
    """The processes of a run on several machines; implements `Processes`.

    Attributes:
        processes: id by device, on its own machine; the arbiter under its own name.
    """

    def __init__(self, ray: Any, shares: Sequence[MachineShare]) -> None:
        """Asks for one actor a machine; nothing of ours is started yet.

        Args:
            ray: the module, connected.
            shares: what each machine carries.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.processes: dict[str, int] = {}
        self._ray = ray
        self._names: dict[MachineShare, tuple[str, ...]] = {}
        self._closing = False
        self._watchers: list[Thread] = []
        self._actors = {
            share: ray.remote(NodePlace)
            .options(
                num_cpus=1,
                max_restarts=0,
                max_concurrency=2,
                scheduling_strategy=NodeAffinitySchedulingStrategy(share.machine.identity, soft=False),
            )
            .remote(share.machine.label)
            for share in shares
        }

    def look(self, topology: Topology, needs: Needs, flash_folder: Path | None, measure: bool) -> MachineSpeed | None:
        """Has every machine check its own share; the speed of the slowest when it is measured.

        Raises:
            PreflightFailed: one cannot carry its share; names it.
            RayLost: one does not answer.
        """
        folder = "" if flash_folder is None else str(flash_folder.absolute())
        asked = [
            actor.look.remote(demand_of(topology, needs, share.hosts), folder, measure)
            for share, actor in self._actors.items()
        ]
        speeds = [speed for speed in self._answers(asked, START_S, "looking at its machines") if speed is not None]
        return slowest(speeds) if speeds else None

    def start(
        self,
        topology: Topology,
        pace: float | None,
        flash_folder: Path | None,
        credentials: Mapping[str, Credentials],
    ) -> dict[str, str]:
        """Starts the nodes everywhere at once; where each listens, by device, and the arbiter.

        Raises:
            StartFailed: a node did not become ready.
            RayLost: a machine does not answer.
        """
        asked = []
        first_host = next(iter(topology.devices.values())).host
        for share, actor in self._actors.items():
            listening = listening_on(topology, share.machine.address)
            content = cluster_content(Path(), topology, 0.0, pace, flash_folder, listening, share.hosts)
            if flash_folder is None:
                content["flash_folder"] = ""
            if first_host not in share.hosts:
                content["arbiter"] = ""  # one is enough: it runs beside the first device
            names = self._names[share] = (*content["devices"], *([ARBITER] if content["arbiter"] else []))
            shown = {name: credentials[name].to_data() for name in names}
            asked.append(actor.start.remote(content, shown, START_S))
        targets: dict[str, str] = {}
        started: Started
        for started in self._answers(asked, START_S + _STOP_S, "starting nodes"):
            targets.update(started.targets)
            self.processes.update(started.processes)
        return targets

    def watch(self, died: Callable[[str, str], None]) -> None:
        """Listens for nodes that end, and for those that have.

        Args:
            died: called in another thread with device and how.
        """
        for share, actor in self._actors.items():
            name = f"ray.{share.machine.identity[:8]}"
            watcher = Thread(target=self._watch, args=(share, actor, died), name=name, daemon=True)
            self._watchers.append(watcher)
            watcher.start()

    def log_tail(self, name: str) -> str:
        """Nothing: what a node said last comes with how it ended."""
        return ""

    def stop(self) -> None:
        """Ends every node, waits for it and gives the actors back."""
        self._closing = True
        # A machine that was lost has taken its nodes with it; the others are ended all the same.
        with suppress(RayLost), ray_errors("ending nodes"):
            asked = [actor.stop.remote() for actor in self._actors.values()]
            self._ray.wait(asked, num_returns=len(asked), timeout=_STOP_S)
        for actor in self._actors.values():
            with suppress(RayLost), ray_errors("giving its actors back"):
                self._ray.kill(actor)
        for watcher in self._watchers:
            watcher.join(_STOP_S)

    def _answers(self, asked: Sequence[Any], timeout_s: float, what: str) -> list[Any]:
        with ray_errors(what):
            answers: list[Any] = self._ray.get(list(asked), timeout=timeout_s)
        return answers

    def _watch(self, share: MachineShare, actor: Any, died: Callable[[str, str], None]) -> None:
        lost = False
        while not lost and not self._closing:
            try:
                with ray_errors("watching its nodes"):
                    deaths = self._ray.get(actor.wait_for_deaths.remote(_POLL_S))
            except RayLost:
                how = f"on {share.machine.label} was lost with its machine, or with Ray's process there"
                deaths, lost = [(name, how) for name in self._names[share]], True
            for device, how in deaths:
                if not self._closing:
                    died(device, how)


def slowest(speeds: Sequence[MachineSpeed]) -> MachineSpeed:
    """What every machine does at least."""
    return MachineSpeed(
        copy_bytes_per_s=min(speed.copy_bytes_per_s for speed in speeds),
        flop_per_s=min(speed.flop_per_s for speed in speeds),
        command_s=max(speed.command_s for speed in speeds),
        cores=min(speed.cores for speed in speeds),
    )


@contextmanager
def launch_on_ray(
    topology: Topology,
    address: str,
    pace: float | None = None,
    *,
    flash_folder: Path | None = None,
    needs: Needs | None = None,
    node_timeout_s: float = NODE_TIMEOUT_S,
) -> Iterator[Cluster]:
    """A cluster on the machines of a Ray cluster, for the length of a ``with``.

    Args:
        topology: what to start.
        address: of the Ray cluster: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        pace, flash_folder: as of `launch`; the folder is one of every machine.
        node_timeout_s: as of `launch` [s of wall time].
        needs: bytes that will be allocated, by (device, tier) [bytes]; each machine checks those of its own hosts.

    Raises:
        MissingExtra: Ray, or the library that makes certificates, is not installed.
        NoCluster: nobody answers at `address`.
        PreflightFailed: a machine lacks memory, disk or files for its share.
        StartFailed: a node did not become ready.
        RayLost: a machine does not answer.
    """
    check_pace(pace)
    check_node_timeout(node_timeout_s)
    credentials = make_credentials(topology.devices)
    with ray_session(address) as ray:
        shares = deal_hosts(topology, needs or {}, _machines(ray))
        processes = RayProcesses(ray, shares)
        cluster: Cluster | None = None
        try:
            speed = processes.look(topology, needs or {}, flash_folder, measure=pace is not None)
            targets = processes.start(topology, pace, flash_folder, credentials)
            arbiter = targets.pop(ARBITER, "")
            where = Whereabouts({name: targets[name] for name in topology.devices}, arbiter, credentials[CONTROLLER])
            machines = {host: share.machine.label for share in shares for host in share.hosts}
            cluster = Cluster(topology, where, pace, wall_clock_s(), processes, speed, machines, node_timeout_s)
            processes.watch(cluster.died)
            cluster.open()
            yield cluster
        finally:
            if cluster is not None:
                cluster.close()
            else:
                processes.stop()


def _machines(ray: Any) -> list[Machine]:
    """The machines that live and offer a core, in an order that does not change while they do."""
    found = [
        Machine(node["NodeID"], node["NodeManagerAddress"])
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0.0) >= 1.0
    ]
    return sorted(found, key=lambda machine: (machine.address, machine.identity))
