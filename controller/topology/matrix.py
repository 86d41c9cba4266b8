"""How the accelerators and NICs of one host reach each other, as ``nvidia-smi topo -m`` prints it.

Labels: X itself; NV# that many NVLinks (another link between accelerators by its port: XGMI, UB, ICI); PIX through one
PCIe switch, PXB through several, PHB through a host bridge, NODE through several in one NUMA node, SYS between NUMA
nodes; NET through the network alone, N/A not at all.

A topology does not say what kind of switch a switch is, so names and neighbours do: a NIC is a switch of the host
called ``nic...`` or ``rnic...``; a NUMA node one called ``numa...`` or ``socket...``; a host bridge one called
``root...`` or linked to a CPU; where there is no NUMA node, each host bridge is one. Affinity is the nearest CPU and
NUMA node: emulated processors have no core lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import NoRoute, UserError
from controller.topology.graph import route
from controller.topology.nearest import hint
from controller.topology.schema import Topology

ACCELERATORS = ("gpu", "npu")
HOST_PORTS = ("pcie", "host", "rdma")
"""Ports that lead to processors and networks, not to other accelerators."""

NIC = re.compile(r"r?nics?\d*(_h\d+)?")
NUMA = re.compile(r"(numa|socket)\w*")
BRIDGE = re.compile(r"root\w*")

WIDE_LANE, LANE = 50e9, 25e9
"""One NVLink per direction [bytes/s]: generation 5, and 2 to 4."""

WIDE_FROM = 800e9
"""A link of at least this is of generation 5 [bytes/s]: 18 lanes of the one before it are 450 GB/s."""


class UnknownHost(UserError):
    """No host of that name."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The matrix of one host.

    Attributes:
        host: the chassis.
        names: accelerators, then NICs (n).
        cells: labels (n, n).
        cpu_affinity, numa_affinity: of each (n).
    """

    host: str
    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    cpu_affinity: tuple[str, ...]
    numa_affinity: tuple[str, ...]


def hosts_of(topology: Topology) -> tuple[str, ...]:
    """Hosts with an accelerator, in the order of declaration."""
    return tuple(dict.fromkeys(device.host for device in topology.devices.values() if device.spec.kind in ACCELERATORS))


def matrix_of(topology: Topology, host: str) -> Matrix:
    """The matrix of one host.

    Raises:
        UnknownHost: no such host, or one without accelerators.
    """
    if host not in hosts_of(topology):
        raise UnknownHost(f"no host {host!r} with accelerators{hint(host, hosts_of(topology), 'hosts')}")
    return _Inside(topology, host).matrix()


class _Inside:
    """One host as a graph: its devices and switches, and the links among them.

    Attributes:
        near: neighbours over PCIe and the like, without the accelerators' own ports and the switches behind those.
        anyhow: neighbours over everything.
        behind: switches that an accelerator's own port ends at, to the name of that port.
    """

    def __init__(self, topology: Topology, host: str) -> None:
        self.topology = topology
        self.host = host
        devices = [device for device in topology.devices.values() if device.host == host]
        self.accelerators = [device.name for device in devices if device.spec.kind in ACCELERATORS]
        self.cpus = [device.name for device in devices if device.spec.kind == "cpu"]
        switches = [name for name in topology.switches if topology.switch_hosts.get(name) == host]
        self.nics = [name for name in switches if NIC.fullmatch(name)]
        mine = dict.fromkeys((*(device.name for device in devices), *switches))
        inside = [link for link in topology.links if link.a.vertex in mine and link.b.vertex in mine]
        self.behind = {
            other.vertex: end.port
            for link in inside
            for end, other in ((link.a, link.b), (link.b, link.a))
            if end.port and end.port not in HOST_PORTS and not other.port
        }
        self.near: dict[str, list[str]] = {name: [] for name in mine}
        self.anyhow: dict[str, list[str]] = {name: [] for name in mine}
        for link in inside:
            for end, other in ((link.a, link.b), (link.b, link.a)):
                self.anyhow[end.vertex].append(other.vertex)
                if all(each.vertex not in self.behind and each.port in ("", *HOST_PORTS) for each in (end, other)):
                    self.near[end.vertex].append(other.vertex)
        bridges = [name for name in switches if BRIDGE.fullmatch(name) or set(self.near[name]) & set(self.cpus)]
        numa = [name for name in switches if NUMA.fullmatch(name)]
        self.nodes = numa or bridges
        self.bridges = [name for name in bridges if name not in numa]

    def matrix(self) -> Matrix:
        names = (*self.accelerators, *self.nics)
        return Matrix(
            self.host,
            names,
            tuple(tuple(self.label(a, b) for b in names) for a in names),
            tuple(self.nearest(name, self.cpus) for name in names),
            tuple(self.numa(name) for name in names),
        )

    def label(self, a: str, b: str) -> str:
        if a == b:
            return "X"
        first, last = sorted((a, b))
        both = a in self.accelerators and b in self.accelerators
        if both:
            direct = self.direct(first, last)
            if direct:
                return direct
        path = self.path(first, last, self.near)
        if path is None:
            around = self.path(first, last, self.anyhow) or []
            ports = [self.behind[name] for name in around if name in self.behind]
            return ports[0].upper() if ports else "NET" if both and self.joined(a, b) else "N/A"
        nodes = [name for name in path if name in self.nodes]
        bridges = [name for name in path if name in self.bridges]
        if len(nodes) > 1:
            return "SYS"
        if len(bridges) > 1 or (nodes and nodes[0] not in self.bridges):
            return "NODE"
        if bridges:
            return "PHB"
        return "PIX" if len(path) < 2 else "PXB"

    def direct(self, a: str, b: str) -> str:
        """The label of a way over the accelerators' own ports, or ""."""
        if not self.joined(a, b):
            return ""
        hops = route(self.topology, a, b).hops
        port = hops[0].tail.port
        if port in HOST_PORTS or hops[-1].head.port in HOST_PORTS:
            return ""
        if port != "nvlink":
            return port.upper()
        rate = min(hop.link.forward_bytes_per_s if hop.forward else hop.link.backward_bytes_per_s for hop in hops)
        return f"NV{max(1, round(rate / (WIDE_LANE if rate >= WIDE_FROM else LANE)))}"

    def joined(self, a: str, b: str) -> bool:
        try:
            return bool(route(self.topology, a, b).hops)
        except NoRoute:
            return False

    def path(self, start: str, goal: str, near: Mapping[str, list[str]]) -> list[str] | None:
        """The vertices between two on a shortest way inside of the host; devices and NICs pass nothing on."""
        before: dict[str, str] = {start: ""}
        ring = [start]
        while ring and goal not in before:
            further: list[str] = []
            for vertex in ring:
                if vertex != start and (vertex in self.topology.devices or vertex in self.nics):
                    continue
                for other in near[vertex]:
                    if other not in before:
                        before[other] = vertex
                        further.append(other)
            ring = further
        if goal not in before:
            return None
        found: list[str] = []
        vertex = before[goal]
        while vertex and vertex != start:
            found.append(vertex)
            vertex = before[vertex]
        return found[::-1]

    def nearest(self, name: str, among: list[str]) -> str:
        """Those of `among` that are fewest hops away."""
        paths = {other: self.path(name, other, self.near) for other in among}
        lengths = {other: len(path) for other, path in paths.items() if path is not None}
        least = min(lengths.values(), default=0)
        return ",".join(other for other, length in lengths.items() if length == least) or "N/A"

    def numa(self, name: str) -> str:
        near = self.nearest(name, self.nodes)
        return near if near == "N/A" else ",".join(str(self.nodes.index(each)) for each in near.split(","))
