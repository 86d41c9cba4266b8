"""Whether a verdict names what was injected, and how far off it is; detectors cannot import this."""

from __future__ import annotations

from controller.diagnosis.entries import ON_LINKS, Injected
from controller.diagnosis.verdicts import Suspect
from controller.diagnosis.workloads import Workload
from controller.topology.schema import Topology

DISTANCES = ("right", "link", "nic", "device", "host", "rack", "elsewhere")
"""How far a blamed component is from the guilty one: it shares the link, the attachment, the device, the host or what
joins hosts."""


class Truth:
    """What is guilty in a cluster where faults were injected.

    Args:
        topology: the declared cluster.
        workload: whose ranks verdicts speak of.
    """

    def __init__(self, topology: Topology, workload: Workload) -> None:
        self._topology, self._workload = topology, workload
        self._ends = {link.name: (link.a.vertex, link.b.vertex) for link in topology.links}
        self._rank_of = {device: rank for rank, device in enumerate(workload.devices)}
        self._over: dict[str, frozenset[str]] = {}

    def right(self, fault: Injected) -> frozenset[Suspect]:
        """Everything that names the guilty component: of a link the attachment it is, and paths that go over it."""
        if fault.kind not in ON_LINKS:
            return frozenset([Suspect("device", fault.target)])
        found = {Suspect("path", name) for name in self._paths(fault.target)}
        found |= {Suspect("nic", end) for end in self._ends[fault.target] if end in self._rank_of}
        return frozenset(found)

    def distance(self, suspect: Suspect, fault: Injected) -> str:
        """How far a verdict is from a fault, of `DISTANCES`."""
        if suspect in self.right(fault):
            return "right"
        named = self._devices(suspect)
        if fault.kind in ON_LINKS:
            guilty = {end for end in self._ends[fault.target] if end in self._rank_of}
            if not guilty:
                over = {device for path in self._paths(fault.target) for device in path.split("->")}
                return "link" if named & over else "elsewhere"
            if named & guilty:
                return "link" if suspect.kind == "path" else "device"
        else:
            guilty = {fault.target}
            if named & guilty:
                return "link" if suspect.kind == "path" else "nic"
        hosts = {self._topology.devices[name].host for name in guilty}
        return "host" if any(self._topology.devices[name].host in hosts for name in named) else "rack"

    def _paths(self, link: str) -> frozenset[str]:
        if link not in self._over:
            devices = self._workload.devices
            self._over[link] = frozenset(f"{devices[a]}->{devices[b]}" for a, b in self._workload.pairs_over(link))
        return self._over[link]

    def _devices(self, suspect: Suspect) -> set[str]:
        if suspect.kind == "host":
            return {name for name in self._rank_of if self._topology.devices[name].host == suspect.name}
        return {name for name in suspect.name.split("->") if name in self._rank_of}
