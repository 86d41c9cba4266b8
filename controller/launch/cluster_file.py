"""What a fork server starts, in a file of the run directory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from controller.errors import StartFailed
from controller.launch.listening import Listening
from controller.launch.processes import process_of
from controller.topology.schema import Topology
from node.client import spec_to_data
from node.protocol import ARBITER, CLUSTER_FILE, GROUP_SUFFIX


def cluster_content(
    path: Path,
    topology: Topology,
    epoch: float,
    pace: float | None,
    flash_folder: Path | None,
    listening: Listening | None = None,
    hosts: Collection[str] | None = None,
) -> dict[str, Any]:
    """What a fork server starts.

    Args:
        path: of the run directory.
        topology: declared devices and links.
        epoch: device time 0 on the monotonic clock of the machine [s].
        pace: dilation; None without pacing.
        flash_folder: where flash tiers lie; None for the run directory.
        listening: where nodes listen; None for sockets in the run directory.
        hosts: whose devices to start; None for all.
    """
    here = [device for device in topology.devices.values() if hosts is None or device.host in hosts]
    processes = {device.name: process_of(topology, device) for device in here}
    sharing = Counter(processes.values())
    if listening is not None and max(sharing.values(), default=1) > 1:
        raise StartFailed(
            "devices share a process on this machine alone, since a certificate names one device; write --set "
            "options.process=device, or start without addresses"
        )
    sockets = {process: number for number, process in enumerate(sharing)}
    devices: dict[str, dict[str, Any]] = {}
    for device in here:
        process = processes[device.name]
        suffix = ".sock" if sharing[process] == 1 else GROUP_SUFFIX
        socket = f"unix:{path / f'{sockets[process]}{suffix}'}"
        devices[device.name] = {
            "host": device.host,
            "target": socket if listening is None else listening.target(device.host),
            "spec": spec_to_data(device.spec),
            "process": process,
        }
    arbiter = ""
    if pace is not None and topology.links:
        first = next(iter(devices.values()))
        arbiter = f"unix:{path / 'arbiter.sock'}" if listening is None else first["target"]
    return {
        "topology": topology.name,
        "source": topology.source,
        "digest": topology.digest,
        "overrides": list(topology.overrides),
        "devices": devices,
        "links": link_capacities(topology),
        "epoch": epoch,
        "dilation": pace,
        "arbiter": arbiter,
        "flash_folder": str((flash_folder or path / "flash").absolute()),
        "secured": listening is not None,
        "share_memory": listening is None or listening.share_memory,
    }


def write_cluster_file(path: Path, content: Mapping[str, Any]) -> None:
    """Puts what the fork server starts where it looks for it, at once and whole."""
    fresh = path / (CLUSTER_FILE + ".new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path / CLUSTER_FILE)


def settled(content: Mapping[str, Any], targets: Mapping[str, str]) -> dict[str, Any]:
    """The content with where nodes listen in the end, once the system has chosen their ports.

    Args:
        content: as of `cluster_content`.
        targets: by device; "arbiter" stands for the arbiter.
    """
    devices = {name: {**entry, "target": targets[name]} for name, entry in content["devices"].items()}
    return {**content, "devices": devices, "arbiter": targets[ARBITER] if content["arbiter"] else ""}


def read_cluster_file(path: Path) -> dict[str, Any] | None:
    """What `write_cluster_file` wrote; None when it is not there or broken."""
    content = read_json(path / CLUSTER_FILE)
    return content if content is not None and isinstance(content.get("devices"), dict) else None


def link_capacities(topology: Topology) -> Mapping[str, float]:
    """Capacity of every direction of every link, ``NAME>`` forward and ``NAME<`` backward [bytes/s]."""
    capacities: dict[str, float] = {}
    for link in topology.links:
        capacities[f"{link.name}>"] = link.forward_bytes_per_s
        capacities[f"{link.name}<"] = link.backward_bytes_per_s
    return capacities


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none, or no file."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
