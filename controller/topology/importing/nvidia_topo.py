"""``nvidia-smi topo -m``: a matrix of how each two GPUs and NICs of one host reach each other.

The labels are the closest thing that two have in common: PIX one PCIe switch, PXB several, PHB a host bridge, NODE a
NUMA node, SYS none, and NV# that many NVLinks beside it, which hides what else they share. The tree of switches is the
smallest one with those labels. The matrix says nothing about rates: those of GPUs are of the ports in their sheet, and
links between sockets must be given where there are any (``--link sockets=...``), as must latencies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadTopology
from controller.topology.importing.sketch import (
    HOST_PORTS,
    Chassis,
    Connection,
    Given,
    Sketch,
    first_port,
    latency_of,
    rate_of,
    text_of,
)
from node.hardware.device import DeviceSpec

LEVELS = ("PIX", "PXB", "PHB", "NODE")
LABEL = re.compile(r"X|SYS|NODE|PHB|PXB|PIX|NV\d+")
OLDER_LABELS = {"SOC": "SYS"}
"""What drivers before 2017 wrote: a link between sockets."""
P2P_LABELS = ("OK", "CNS", "GNS", "TNS", "NS", "U", "DR")
"""What ``nvidia-smi topo -p2p`` writes."""
NVLINK_LANES = (14.0625e9, 20e9, 25e9, 50e9)
"""Rates of one NVLink per direction [bytes/s]: that of a bridge between workstation cards, NVLink 1, 2 to 4, 5."""
NVLINK_PORTS = ("nvlink",)


@dataclass(frozen=True, slots=True)
class ParsedMatrix:
    """The parsed table: names, labels, NUMA node by name ("" where it says none), line by name."""

    names: tuple[str, ...]
    labels: dict[tuple[str, str], str]
    numa: dict[str, str]
    lines: dict[str, int]

    def sets(self, level: int) -> list[list[str]]:
        """Names that have something of `LEVELS` up to `level` in common, in the order of the matrix."""
        close = set(LEVELS[: level + 1])
        groups: list[list[str]] = []
        for name in self.names:
            near = [group for group in groups if any(self._close(name, other, close, level) for other in group)]
            merged = [other for group in near for other in group] + [name]
            groups = [group for group in groups if group not in near] + [merged]
        order = {name: index for index, name in enumerate(self.names)}
        return sorted((sorted(group, key=order.__getitem__) for group in groups), key=lambda group: order[group[0]])

    def _close(self, a: str, b: str, close: set[str], level: int) -> bool:
        label = self.labels[a, b]
        if label in close:
            return True
        # The column of nodes speaks where NV# hides the label, unless what others have with the two denies it.
        same_node = level == len(LEVELS) - 1 and self.numa[a] != "" and self.numa[a] == self.numa[b]
        return same_node and label.startswith("NV") and not self._apart(a, b)

    def _apart(self, a: str, b: str) -> bool:
        """Whether something shares a node with one of two and not with the other."""
        others = [each for each in self.names if each not in (a, b)]
        return any(
            {self.labels[a, c], self.labels[b, c]} & set(LEVELS) and "SYS" in (self.labels[a, c], self.labels[b, c])
            for c in others
        )

    def contradiction(self) -> tuple[str, str, str] | None:
        """Two names whose label no tree has that has those of the others, and why; None when there is a tree."""
        for level in range(len(LEVELS)):
            for members in self.sets(level):
                for a, b in ((a, b) for a in members for b in members if a < b):
                    label = self.labels[a, b]
                    beyond = label == "SYS" or (label in LEVELS and LEVELS.index(label) > level)
                    if beyond:
                        return a, b, f"{label}, and others join the two by {LEVELS[level]}"
        return None


def nvidia_topo(path: Path, name: str, given: Given) -> Sketch:
    """See the module.

    Raises:
        BadTopology: no matrix, one that contradicts itself, or something that must be given.
    """
    matrix = _matrix(path, text_of(path))
    wrong = matrix.contradiction()
    if wrong is not None:
        a, b, why = wrong
        raise BadTopology(f"{path}:{matrix.lines[a]}: {a} to {b} is {why}; give the whole output, unchanged")
    gpus = [each for each in matrix.names if each.startswith("GPU")]
    where = f"{path}:{matrix.lines[gpus[0]]}"
    spec = given.product("gpu", "gpu", where)
    host = Chassis(devices={"gpu": (spec.product, len(gpus))})
    sketch = Sketch(name, {"host0": host})
    # A GPU is called by its place, whatever the numbers of the matrix.
    ends = {each: f"gpu{index}" for index, each in enumerate(gpus)}
    nics = [each for each in matrix.names if each not in ends]
    vertices = {each: f"nic{index}" for index, each in enumerate(nics)}
    _tree(path, matrix, host, spec, given, ends, vertices)
    _nvlink(path, matrix, host, spec, given, ends)
    if nics:
        sketch.notes.append("what lies behind the NICs, which the matrix does not say")
    return sketch


def _tree(
    path: Path,
    matrix: ParsedMatrix,
    host: Chassis,
    spec: DeviceSpec,
    given: Given,
    ends: dict[str, str],
    vertices: dict[str, str],
) -> None:
    port = first_port(spec, (*HOST_PORTS, "c2c"), str(path))
    # NVLink-C2C is of the GPU alone: it says nothing of the slots of the NICs.
    own, way = spec.ports[port].read_bytes_per_s, "c2c" if port == "c2c" else "slot"
    slot = None if port == "c2c" else own
    source = f"the {port} port of {spec.product}; the matrix says no rate"
    below: dict[str, str] = {name: f"{end}.{port}" for name, end in ends.items()} | vertices
    host.switches += list(vertices.values())

    def link(a: str, b: str, name: str, line: int, rate: float | None) -> None:
        where = f"{path}:{line}"
        bandwidth = rate_of(given, name, where, rate, source, "assumed")
        host.links.append(Connection(a, b, bandwidth, latency_of(given, name, where)))

    bridged = {name for members in matrix.sets(1) if len(members) > 1 for name in members}
    for level, kind in enumerate(("pcie_switch", "pcie_bridge", "root", "numa")):
        number = 0
        for members in matrix.sets(level):
            tops = list(dict.fromkeys(below[member] for member in members))
            # What shares a bridge with others is behind a switch of its own: through one alone it would be PIX.
            alone = level > 0 or members[0] not in bridged
            if len(tops) < 2 and kind != "numa" and alone:
                continue
            switch = f"{kind}{number}"
            number += 1
            host.switches.append(switch)
            for top in tops:
                member = next(each for each in members if below[each] == top)
                kind_of_link = way if "." in top else "slot" if top in vertices.values() else "uplink"
                link(top, switch, kind_of_link, matrix.lines[member], own if "." in top else slot)
            below |= dict.fromkeys(members, switch)
    nodes = list(dict.fromkeys(below.values()))
    for index, a in enumerate(nodes):
        for b in nodes[index + 1 :]:
            link(a, b, "sockets", matrix.lines[matrix.names[0]], None)


def _nvlink(
    path: Path, matrix: ParsedMatrix, host: Chassis, spec: DeviceSpec, given: Given, ends: dict[str, str]
) -> None:
    counts = {(a, b): int(label[2:]) for (a, b), label in matrix.labels.items() if label.startswith("NV") and a in ends}
    if not counts:
        return
    first = next(iter(counts))[0]
    where = f"{path}:{matrix.lines[first]}"
    port = first_port(spec, NVLINK_PORTS, where)
    rate = spec.ports[port].read_bytes_per_s
    of_first = [count for (a, _), count in counts.items() if a == first]
    even = len(set(counts.values())) == 1 and len(counts) == len(ends) * (len(ends) - 1)
    latency = latency_of(given, "nvlink", where)
    # Every pair has all links of a GPU where a switch lies between; side by side they would need a wider port.
    if even and len(ends) > 2 and not _is_lane(rate / sum(of_first)):
        host.switches.append("nvswitch")
        lane = _lane(rate / of_first[0])
        source = (
            f"{of_first[0]} NVLinks of {lane / 1e9:g} GB/s, which the {port} port of {spec.product} comes closest to"
        )
        bandwidth = rate_of(given, "nvlink", where, lane * of_first[0], source)
        host.links += [Connection(f"{end}.{port}", "nvswitch", bandwidth, latency) for end in ends.values()]
        return
    lane = _lane(rate / max(sum(count for (a, _), count in counts.items() if a == each) for each in ends))
    for (a, b), count in counts.items():
        if matrix.names.index(a) < matrix.names.index(b):
            source = f"{count} NVLinks of {lane / 1e9:g} GB/s, which the {port} port of {spec.product} comes closest to"
            bandwidth = rate_of(given, "nvlink", where, lane * count, source)
            host.links.append(Connection(f"{ends[a]}.{port}", f"{ends[b]}.{port}", bandwidth, latency))


def _lane(rate: float) -> float:
    """The slowest NVLink that carries `rate`: what a port of a sheet reaches is never more than its lanes."""
    return next((lane for lane in NVLINK_LANES if lane >= 0.98 * rate), NVLINK_LANES[-1])


def _is_lane(rate: float) -> bool:
    return any(abs(rate / lane - 1) < 0.1 for lane in NVLINK_LANES)


def _matrix(path: Path, text: str) -> ParsedMatrix:
    lines = [(number, re.sub(r"\x1b?\[[0-9;]*m", "", line)) for number, line in enumerate(text.splitlines(), 1)]
    at = next((index for index, (_, line) in enumerate(lines) if re.match(r"\s*GPU\d+\b", line)), None)
    if at is None:
        raise BadTopology(f"{path}:1: no header with GPU0; give the whole output of nvidia-smi topo -m")
    header = re.split(r"\bCPU Affinity\b|\bNUMA Affinity\b", lines[at][1])[0].split()
    names = tuple(header)
    labels: dict[tuple[str, str], str] = {}
    numa: dict[str, str] = {}
    found: dict[str, int] = {}
    for number, line in lines[at + 1 :]:
        cells = line.split()
        if not cells or cells[0] not in names:
            if len(found) == len(names) or cells[:1] == ["Legend:"]:
                break
            continue
        name = cells[0]
        if name in found:
            raise BadTopology(f"{path}:{number}: a second row {name}; the first is in line {found[name]}")
        found[name] = number
        numa[name] = _numa(cells[len(names) + 1 :])
        if len(cells) <= len(names):
            raise BadTopology(f"{path}:{number}: the row {name} has {len(cells) - 1} of {len(names)} columns")
        for other, cell in zip(names, cells[1:], strict=False):
            label = OLDER_LABELS.get(cell, cell)
            if not LABEL.fullmatch(label) or (label == "X") != (name == other):
                what = ", but of topo -p2p; give the output of nvidia-smi topo -m" if label in P2P_LABELS else ""
                raise BadTopology(
                    f"{path}:{number}: {name} to {other} is {label!r}, which is no label of the matrix{what}"
                )
            labels[name, other] = label
    missing = [name for name in names if name not in found]
    if missing:
        raise BadTopology(f"{path}:{lines[at][0]}: the matrix has no row {missing[0]}; give the whole output")
    for (a, b), label in labels.items():
        if labels[b, a] != label:
            raise BadTopology(f"{path}:{found[a]}: {a} to {b} is {label}, and {b} to {a} in line {found[b]} is not")
    return ParsedMatrix(names, labels, numa, found)


def _numa(cells: Sequence[str]) -> str:
    """The NUMA node behind the list of cores, or that list where older drivers print no node; "" without either."""
    if len(cells) == 1 and re.fullmatch(r"[0-9]+(?:[-,][0-9]+)+", cells[0]):
        return cells[0]
    return cells[1] if len(cells) > 1 and cells[1].isdecimal() else ""
