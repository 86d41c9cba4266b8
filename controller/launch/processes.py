"""Which devices share a node process, as a topology declares it.

``options: {process: host}`` puts all devices of a chassis into one process, ``supernode`` all devices of the topology;
``device``, the usual one, gives each its own. Times and values are the same: a device keeps its tiers, its queues and
its clock, and moves to a neighbour by the same messages. What dies together differs: a process takes all its devices
with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.errors import BadTopology
from controller.topology.schema import Device, Topology

OPTION = "process"
CHOICES = ("device", "host", "supernode")


def process_of(topology: Topology, device: Device) -> str:
    """Name of the process that carries `device`.

    Raises:
        BadTopology: the option is none of `CHOICES`.
    """
    chosen = topology.options.get(OPTION, CHOICES[0])
    if chosen not in CHOICES:
        raise BadTopology(
            f"option {OPTION} of topology {topology.name!r} is {chosen!r}; write one of {', '.join(CHOICES)}"
        )
    if chosen == "device":
        return device.name
    return f"host-{device.host}" if chosen == "host" else "supernode"


def process_count(topology: Topology, devices: Iterable[Device]) -> int:
    """Number of processes that carry these devices."""
    return len({process_of(topology, device) for device in devices})
