"""``rocm-smi --showtopo`` and ``amd-smi topology``: weights, hops and kinds of links between the GPUs of one host.

Two GPUs whose link is XGMI and one hop away are joined by a cable; over more hops they go through others, which devices
here do not forward, so such a pair takes PCIe as the others do. Hops are printed as 1 for every pair that XGMI reaches,
so the weights decide: the driver counts 15 a hop. Every GPU hangs on the root of its NUMA node. The
output says no rate of PCIe, which is of the sheet's port, nor of XGMI but in amd-smi's table ``NUMA BW``: else that is
of the sheet's port as well, where a GPU has all its links in use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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

FULL_MESH = 8
"""GPUs from which on a full mesh takes every XGMI link of a GPU."""


WEIGHT_OF_A_HOP = 15
"""What the driver counts for a hop over XGMI. Source: amdkfd, and the documentation of amd-smi topology."""
GPU = re.compile(r"GPU\d+|[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]")
"""How rocm-smi and amd-smi call a GPU."""


def rocm_topo(path: Path, name: str, given: Given) -> Sketch:
    """The host that the output describes.

    Raises:
        BadTopology: no matrix of link types, or something that must be given.
    """
    if text_of(path).lstrip().startswith(("{", "[")):
        raise BadTopology(f"{path}:1: this is JSON; give the tables that rocm-smi --showtopo prints without --json, or "
                          f"amd-smi topology")  # fmt: skip
    lines = [(number, line.rstrip()) for number, line in enumerate(text_of(path).splitlines(), 1)]
    kinds = _matrix(path, lines, "Link Type between two GPUs", "LINK TYPE TABLE")
    if not kinds:
        raise BadTopology(
            f"{path}:1: no matrix 'Link Type between two GPUs'; give the whole output of rocm-smi --showtopo, or of "
            f"amd-smi topology"
        )
    hops = _matrix(path, lines, "Hops between two GPUs", "HOPS TABLE")
    weights = _matrix(path, lines, "Weight between two GPUs", "WEIGHT TABLE")
    rates = _matrix(path, lines, "NUMA BW TABLE")
    closed = {
        pair
        for pair, (_, access) in _matrix(path, lines, "ACCESS TABLE", "LINK STATUS TABLE").items()
        if access == "DISABLED"
    }
    gpus = list(dict.fromkeys(a for a, _ in kinds))
    far = {
        pair
        for pair, (_, kind) in kinds.items()
        if kind == "XGMI" and (hops.get(pair, (0, "1"))[1] != "1" or _weight(weights, pair) > WEIGHT_OF_A_HOP)
    }
    nodes = dict(re.findall(r"GPU\[(\d+)\]\s*:.*Numa Node: (-?\d+)", "\n".join(line for _, line in lines)))
    where = f"{path}:{min(number for number, _ in kinds.values())}"
    spec = given.product("gpu", "gpu", where)
    host = Chassis(devices={"gpu": (spec.product, len(gpus))})
    sketch = Sketch(name, {"host0": host})
    ends = {gpu: f"gpu{index}" for index, gpu in enumerate(gpus)}
    pcie = first_port(spec, HOST_PORTS, where)
    for gpu in gpus:
        root = f"numa{max(0, int(nodes.get(gpu.removeprefix('GPU'), '0')))}"
        if root not in host.switches:
            host.switches.append(root)
        source = f"the {pcie} port of {spec.product}; the output says no rate"
        rate = rate_of(given, "slot", where, spec.ports[pcie].read_bytes_per_s, source, "assumed")
        host.links.append(Connection(f"{ends[gpu]}.{pcie}", root, rate, latency_of(given, "slot", where)))
    roots = list(host.switches)
    for index, a in enumerate(roots):
        for b in roots[index + 1 :]:
            rate = rate_of(given, "sockets", where, None, "")
            host.links.append(Connection(a, b, rate, latency_of(given, "sockets", where)))
    cables = [
        (a, b, number)
        for (a, b), (number, kind) in kinds.items()
        if kind == "XGMI" and gpus.index(a) < gpus.index(b) and (a, b) not in far | closed
    ]
    whole = len(gpus) >= FULL_MESH and 2 * len(cables) == len(gpus) * (len(gpus) - 1)
    for a, b, number in cables:
        at = f"{path}:{number}"
        port = first_port(spec, ("xgmi",), at)
        share = spec.ports[port].read_bytes_per_s / (len(gpus) - 1) if whole else None
        source, kind = f"the {port} port of {spec.product} over {len(gpus) - 1} neighbours", "assumed"
        line, cell = rates.get((a, b), (0, ""))
        if said := re.fullmatch(r"\d+-(\d+)", cell):
            # Least and most, in MB/s.
            share, source, kind = float(said[1]) * 1e6, f"{path.name}:{line}, the larger rate in MB/s", "datasheet"
        rate = rate_of(given, "xgmi", at, share, source, kind)
        host.links.append(Connection(f"{ends[a]}.{port}", f"{ends[b]}.{port}", rate, latency_of(given, "xgmi", at)))
    if closed:
        sketch.notes.append("pairs whose access is DISABLED: they take PCIe")
    if cables and not hops and not weights:
        sketch.notes.append("hops and weights, which the output does not say: every XGMI is taken for a cable")
    if far:
        sketch.notes.append("XGMI over more than one hop, which goes through other GPUs")
    if not nodes and len(gpus) > 1:
        sketch.notes.append("NUMA nodes, which the output does not say: every GPU is on one root")
    return sketch


def _weight(weights: Mapping[tuple[str, str], tuple[int, str]], pair: tuple[str, str]) -> float:
    text = weights.get(pair, (0, "0"))[1]
    return float(text) if text.isdecimal() else 0.0


def _matrix(path: Path, lines: list[tuple[int, str]], *titles: str) -> dict[tuple[str, str], tuple[int, str]]:
    """(line, cell) by pair of GPUs of the matrix below one of `titles`; empty when there is none."""
    at = next((index for index, (_, line) in enumerate(lines) if any(title in line for title in titles)), None)
    cells: dict[tuple[str, str], tuple[int, str]] = {}
    names: list[str] = []
    for number, line in lines[at + 1 :] if at is not None else ():
        words = line.split()
        if words and all(map(GPU.fullmatch, words)):
            names = words
        elif words and GPU.fullmatch(words[0]):
            if len(words) != len(names) + 1:
                raise BadTopology(f"{path}:{number}: the row {words[0]} has {len(words) - 1} of {len(names)} columns")
            cells |= {(words[0], b): (number, cell) for b, cell in zip(names, words[1:], strict=True) if b != words[0]}
        elif words and names:
            break
    missing = [name for name in names if cells and not any(a == name for a, _ in cells)]
    if missing and len(names) > 1:
        raise BadTopology(f"{path}:{lines[at or 0][0]}: the matrix has no row {missing[0]}; give the whole output")
    return cells
