"""Intel Memory Latency Checker: a sheet is one socket, and the system that was measured may have several.

The peak injection rates are those of the system. With a matrix of NUMA nodes, the diagonal is what one node does with
its own memory; nodes whose latency is close to the local one lie in the same socket (sub-NUMA clusters).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from controller.devices.calibrate.tools.found import NUMBER, Found, refuse_other_unit
from controller.errors import BadMeasurements

OTHER_SOCKET = 1.35
"""Latency over the local one, or local bandwidth over that, from which on another socket is meant: the link between
sockets adds 60 to 100 ns to about 100, that between clusters of one socket 5 to 25."""

Matrix = Mapping[str, Mapping[str, float]]


def read_mlc(text: str, where: str) -> list[Found]:
    """Read and write bandwidth and idle latency of one socket, and of memory that CXL adds.

    Raises:
        BadMeasurements: no figure tells one of them.
    """
    refuse_other_unit(text, r"Bandwidths are in ([\w/]+)", "MB/sec", where)
    latencies = _matrix(text, r"Measuring idle latencies")
    between = _matrix(text, r"Measuring Memory Bandwidths between nodes")
    sockets = _sockets(latencies, between)
    rates = between if _reads_alone(text) else {}
    found = []
    reads = re.search(rf"^\s*ALL Reads\s*:\s*{NUMBER}", text, re.MULTILINE)
    if rates and len(sockets) > 1:
        own = sorted(sum(rates[node][node] for node in nodes if node in rates[node]) for nodes in sockets)
        middle = sum(own) / len(own)
        said = f"Intel MLC, diagonal of the matrix of nodes, mean of {len(own)} sockets"
        found.append(Found("dram.read", f"{middle:.1f} MB/s", said))
    elif reads is not None:
        found.append(_share("dram.read", float(reads[1]), "ALL Reads", len(sockets)))
    elif loaded := _loaded(text):
        most = max(rate for _, rate in loaded)
        found.append(_share("dram.read", most, "the largest rate of the loaded latencies", len(sockets)))
    elif rates:
        own = [rates[node][node] for node in rates if node in rates[node]]
        found.append(Found("dram.read", f"{sum(own):.1f} MB/s", "Intel MLC, diagonal of the matrix of nodes"))
    writes = re.search(rf"^\s*1:1 Reads-Writes\s*:\s*{NUMBER}", text, re.MULTILINE)
    if writes is not None:
        found.append(_share("dram.write", float(writes[1]), "1:1 Reads-Writes", len(sockets)))
    idle = re.search(rf"\(\s*{NUMBER}\s*ns\)", text)
    if latencies:
        local = [latencies[node][node] for node in latencies if node in latencies[node]]
        if local:
            mean = sum(local) / len(local)
            found.append(Found("dram.read_latency", f"{mean:.4g} ns", "Intel MLC, diagonal of the idle latencies"))
    elif idle is not None:
        bound = re.search(r"^Command line parameters:.*\s-j\s*(\d+)", text, re.MULTILINE)
        caveat = f"-j{bound[1]} was given: is that memory of the processor itself?" if bound is not None else ""
        found.append(Found("dram.read_latency", f"{idle[1]} ns", "Intel MLC, idle latency", caveat))
    elif loaded := _loaded(text):
        least = min(loaded, key=lambda row: row[1])[0]
        found.append(Found("dram.read_latency", f"{least:g} ns", "Intel MLC, the latency under the least load"))
    found += _expanders(latencies, rates)
    if not found:
        raise BadMeasurements(
            f"{where}: output of Intel MLC, but no figure in it that tells a constant: those of caches and of traffic "
            f"that mixes reads and writes are of neither; paste mlc --bandwidth_matrix, --peak_injection_bandwidth or "
            f"--latency_matrix without -W"
        )
    return found


def _expanders(latencies: Matrix, rates: Matrix) -> list[Found]:
    """Memory without processors, which CXL adds: a column without a row, at its best from the nearest processor."""
    found = []
    for matrix, path, unit, best in ((rates, "cxl.read", "MB/s", max), (latencies, "cxl.read_latency", "ns", min)):
        columns = list(dict.fromkeys(node for row in matrix.values() for node in row if node not in matrix))
        nearest = sorted(best(row[node] for row in matrix.values() if node in row) for node in columns)
        if nearest:
            said = f"Intel MLC, memory node without processors, from the nearest one, median of {len(nearest)}"
            found.append(Found(path, f"{nearest[len(nearest) // 2]:g} {unit}", said))
    return found


def _reads_alone(text: str) -> bool:
    """Whether the matrix of bandwidths between nodes is one of reads; older versions say nothing and mean it."""
    at = re.search(r"Measuring Memory Bandwidths between nodes[^\n]*", text)
    said = re.search(r"^Using (.*traffic.*)$", text[at.end() :], re.MULTILINE) if at is not None else None
    return said is None or "Read-only" in said[1]


def _loaded(text: str) -> list[tuple[float, float]]:
    """(latency [ns], rate [MB/s]) of the table of loaded latencies, when it was of reads alone."""
    at = re.search(r"Measuring Loaded Latencies", text)
    if at is None or not re.search(r"Using Read-only traffic", text[at.end() :]):
        return []
    rows = re.findall(rf"^\s*\d+\s+{NUMBER}\s+{NUMBER}\s*$", text[at.end() :], re.MULTILINE)
    return [(float(wait), float(rate)) for wait, rate in rows]


def _share(path: str, rate: float, label: str, sockets: int) -> Found:
    if sockets < 1:
        caveat = (
            "the rate is that of the whole system, and without a matrix of nodes the output does not say how many "
            "sockets it has"
        )
        return Found(path, f"{rate:.1f} MB/s", f"Intel MLC, {label}", caveat)
    if sockets < 2:
        return Found(path, f"{rate:.1f} MB/s", f"Intel MLC, {label}")
    return Found(
        path, f"{rate / sockets:.1f} MB/s", f"Intel MLC, {label} of {sockets} sockets, divided by their number"
    )


def _matrix(text: str, title: str) -> Matrix:
    """Figures by row and column node of the matrix below `title`; empty when there is none."""
    at = re.search(title, text)
    if at is None:
        return {}
    columns: list[str] = []
    rows: dict[str, dict[str, float]] = {}
    for line in text[at.end() :].splitlines():
        cells = line.replace("|", " ").split()
        if cells[:1] and cells[0] in ("Numa", "Memory", "Socket", "node") and any(cell.isdecimal() for cell in cells):
            columns = [cell for cell in cells if cell.isdecimal()]
        elif columns and cells and cells[0].isdecimal() and 1 < len(cells) <= len(columns) + 1:
            row = zip(columns, cells[1:], strict=False)
            rows[cells[0]] = {name: float(cell) for name, cell in row if re.fullmatch(NUMBER, cell)}
        elif rows:
            break
    return {node: row for node, row in rows.items() if row}


def _sockets(latencies: Matrix, rates: Matrix) -> list[list[str]]:
    """Nodes with processors, those of one socket together."""
    sockets: list[list[str]] = []
    for node in latencies or rates:
        for nodes in sockets:
            if _near(nodes[0], node, latencies, rates):
                nodes.append(node)
                break
        else:
            sockets.append([node])
    return sockets


def _near(a: str, b: str, latencies: Matrix, rates: Matrix) -> bool:
    if a in latencies and {a, b} <= set(latencies[a]):
        return latencies[a][b] < OTHER_SOCKET * latencies[a][a]
    if a in rates and {a, b} <= set(rates[a]):
        return rates[a][a] < OTHER_SOCKET * rates[a][b]
    return False
