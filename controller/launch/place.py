"""The nodes of some hosts on one machine, started and watched for a controller that is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Any

from controller.clock import wall_clock_s
from controller.errors import PreflightFailed, StartFailed
from controller.launch.certificates import write_credentials
from controller.launch.cluster_file import write_cluster_file
from controller.launch.fork_server import ForkServerProcess
from controller.launch.preflight import MachineDemand, MachineSpeed, check_machine, measure_machine
from controller.launch.run_directory import create_run_directory
from node.client import credentials_from_data
from node.protocol import ARBITER


@dataclass(frozen=True, slots=True)
class Started:
    """What runs at a place, by device; "arbiter" stands for the arbiter.

    Attributes:
        targets: where each process listens.
        processes: its id on its own machine.
    """

    targets: Mapping[str, str]
    processes: Mapping[str, int]


class NodePlace:
    """One machine's share of a run. Its nodes end with the process that it lives in, however that ends.

    Calls may come from several threads: one waits for deaths while another ends the nodes.
    """

    def __init__(self, label: str) -> None:
        """Starts nothing yet; `label` names the machine in messages."""
        self._label = label
        self._server: ForkServerProcess | None = None
        self._deaths: list[tuple[str, str]] = []
        self._changed = Condition()
        self._stopped = False

    def look(self, demand: MachineDemand, flash_folder: str, measure: bool) -> MachineSpeed | None:
        """Checks whether this machine can carry its share; its speed when that is to be measured.

        Raises:
            PreflightFailed: it cannot.
        """
        try:
            check_machine(demand, Path(flash_folder) if flash_folder else None)
        except PreflightFailed as error:
            raise PreflightFailed(f"on {self._label}: {error}") from error
        return measure_machine() if measure else None

    def start(
        self, content: Mapping[str, Any], credentials: Mapping[str, Mapping[str, str]], timeout_s: float
    ) -> Started:
        """Starts the nodes and waits until each serves.

        Args:
            content: of the cluster file; without epoch, and without flash folder where the run directory is meant.
            credentials: of every process that is started here, as data.
            timeout_s: how long they may take [s of wall time].

        Raises:
            StartFailed: one does not serve.
            PreflightFailed: no run directory can be made here.
        """
        run = create_run_directory()
        folder = content["flash_folder"] or str(run.path / "flash")
        write_credentials(run.path, {name: credentials_from_data(entry) for name, entry in credentials.items()})
        write_cluster_file(run.path, {**content, "epoch": wall_clock_s(), "flash_folder": folder})
        with self._changed:
            if self._stopped:
                run.close()
                raise StartFailed(f"the nodes on {self._label} were stopped before they started")
            server = self._server = ForkServerProcess(run, detached=False, died=self._died)
        try:
            server.await_ready([*content["devices"], *([ARBITER] if content["arbiter"] else [])], timeout_s)
        except StartFailed as error:
            self.stop()
            raise StartFailed(f"on {self._label}: {error}") from error
        return Started(dict(server.targets), dict(server.processes))

    def wait_for_deaths(self, patience_s: float) -> list[tuple[str, str]]:
        """(device, how) of nodes that have ended since the last call; empty after `patience_s` [s of wall time]."""
        with self._changed:
            self._changed.wait_for(lambda: self._deaths or self._stopped, patience_s)
            deaths, self._deaths = self._deaths, []
            return deaths

    def stop(self) -> None:
        """Ends every node and removes what they left."""
        with self._changed:
            self._stopped = True
            server, self._server = self._server, None
            self._changed.notify_all()
        if server is not None:
            server.stop()

    def _died(self, device: str, how: str) -> None:
        tail = self._server.log_tail(device) if self._server is not None else ""
        with self._changed:
            self._deaths.append((device, f"on {self._label} {how}{tail}"))
            self._changed.notify_all()
