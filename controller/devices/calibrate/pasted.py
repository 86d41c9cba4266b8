"""What nccl-tests, nvbandwidth, fio and Intel MLC print, as constants of a sheet.

Each reader looks for the lines that its tool is known by; text that no reader knows is an error, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from controller.errors import BadMeasurements

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"


@dataclass(frozen=True, slots=True)
class Found:
    """One constant: its path, quantity with unit, and which line of the output says it."""

    path: str
    text: str
    method: str


def read_pasted(text: str, where: str = "pasted text") -> tuple[str, list[Found]]:
    """The tool that printed `text`, and the constants in it.

    Raises:
        BadMeasurements: no tool is known by it, or it holds no figure.
    """
    for tool, (mark, reader) in _TOOLS.items():
        if re.search(mark, text, re.MULTILINE):
            found = reader(text)
            if not found:
                raise BadMeasurements(f"{where}: output of {tool}, but no figure in it that tells a constant")
            return tool, found
    raise BadMeasurements(f"{where}: not the output of {', '.join(_TOOLS)}; paste it whole, with its headings")


def _nvbandwidth(text: str) -> list[Found]:
    paths = {
        "host_to_device_memcpy_ce": "pcie.write",
        "device_to_host_memcpy_ce": "pcie.read",
        "device_to_device_memcpy_read_ce": "nvlink.read",
        "device_to_device_memcpy_write_ce": "nvlink.write",
        "device_local_copy": "hbm.read",
    }
    found = []
    for name, path in paths.items():
        block = re.search(rf"^Running {name}\.?\s*$(.*?)(?=^Running |\Z)", text, re.MULTILINE | re.DOTALL)
        if block is None:
            continue
        # Rows are devices; the sum below the matrix is over all of them and is not wanted.
        rows = re.findall(r"^\s*\d+((?:\s+(?:\d+\.\d+|N/A))+)\s*$", block[1], re.MULTILINE)
        values = sorted(float(cell) for row in rows for cell in row.split() if cell != "N/A")
        if values:
            median = values[len(values) // 2]
            # A copy within a device reads and writes each byte: nvbandwidth counts it once, the bus twice.
            rate = 2 * median if path == "hbm.read" else median
            found.append(Found(path, f"{rate:g} GB/s", f"nvbandwidth {name}, median of {len(values)}"))
    return found


def _nccl(text: str) -> list[Found]:
    rows = re.findall(rf"^\s*(\d+)\s+\d+\s+\w+\s+\w+\s+-?\d+\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}", text, re.MULTILINE)
    if not rows:
        return []
    size, _, _, busbw = max(rows, key=lambda row: float(row[3]))
    method = f"nccl-tests, largest bus bandwidth out of place, at {int(size)} bytes"
    return [Found("nvlink.read", f"{busbw} GB/s", method), Found("nvlink.write", f"{busbw} GB/s", method)]


def _fio(text: str) -> list[Found]:
    found = []
    for kind in ("read", "write"):
        rate = re.search(rf"^\s*{kind}\s*: IOPS=.*?BW=.*?\({_NUMBER}([kMG]?)B/s\)", text, re.MULTILINE)
        if rate is None:
            continue
        depth = re.search(r"iodepth=(\d+)", text)
        latency = re.search(rf"^\s*{kind}\s*: IOPS=.*?^\s*lat \((n|u|m)sec\):.*?avg=\s*{_NUMBER}", text, re.M | re.S)
        if depth is not None and depth[1] == "1" and latency is not None:
            unit = {"n": "ns", "u": "us", "m": "ms"}[latency[1]]
            found.append(Found(f"flash.{kind}_latency", f"{latency[2]} {unit}", f"fio, {kind} at queue depth 1"))
        else:
            found.append(Found(f"flash.{kind}", f"{rate[1]} {rate[2]}B/s", f"fio, {kind}, all jobs"))
    return found


def _mlc(text: str) -> list[Found]:
    found = []
    for label, path in (("ALL Reads", "dram.read"), ("1:1 Reads-Writes", "dram.write")):
        rate = re.search(rf"^\s*{label}\s*:\s*{_NUMBER}", text, re.MULTILINE)
        if rate is not None:
            found.append(Found(path, f"{rate[1]} MB/s", f"Intel MLC, {label}"))
    latency = re.search(rf"\(\s*{_NUMBER}\s*ns\)", text)
    if latency is not None:
        found.append(Found("dram.read_latency", f"{latency[1]} ns", "Intel MLC, idle latency"))
    return found


_TOOLS: Final[dict[str, tuple[str, Callable[[str], list[Found]]]]] = {
    "nvbandwidth": (r"^nvbandwidth Version|^Running \w+_memcpy_|^Running device_local_copy", _nvbandwidth),
    "nccl-tests": (r"^#.*(?:busbw|nccl-tests|out-of-place)", _nccl),
    "fio": (r"^\s*(?:read|write)\s*: IOPS=", _fio),
    "Intel MLC": (r"Intel\(R\) Memory Latency Checker|^\s*ALL Reads\s*:", _mlc),
}
"""Tool -> how its output is known, and its reader."""
