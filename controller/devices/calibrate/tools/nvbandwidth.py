"""nvbandwidth: matrices of copies, one a pair of devices, as text or as the object that --json writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from controller.devices.calibrate.tools.found import Found

PATHS: Final[Mapping[str, str]] = {
    "host_to_device_memcpy_ce": "pcie.write",
    "device_to_host_memcpy_ce": "pcie.read",
    "device_to_device_memcpy_read_ce": "nvlink.read",
    "device_to_device_memcpy_write_ce": "nvlink.write",
    "device_local_copy": "hbm.read",
}
EVEN = 0.75
"""Pairs whose copies differ more than this ratio have no links of one kind between them."""


def read_nvbandwidth(text: str, where: str) -> list[Found]:
    """The rate of each kind of copy that says what one port or memory does."""
    cells = _cells_of(text)
    found = []
    for name, path in PATHS.items():
        values = sorted(cells.get(name, ()))
        if not values:
            continue
        median, how = values[len(values) // 2], f"median of {len(values)}"
        if path.startswith("nvlink") and values[0] < EVEN * values[-1]:
            # Pairs without NVLink copy over PCIe; what their links do is told by those that have them.
            median, how = values[-1], f"largest of {len(values)}, which are not all joined by NVLink"
        # A copy within a device reads and writes each byte: nvbandwidth counts it once, the bus twice.
        rate = 2 * median if path == "hbm.read" else median
        found.append(Found(path, f"{rate:g} GB/s", f"nvbandwidth {name}, {how}"))
    return found


def _cells_of(text: str) -> dict[str, list[float]]:
    """Figures of the matrix of each test, without the sum below it."""
    try:
        return _cells_of_document(json.loads(text))
    except ValueError:
        pass
    cells: dict[str, list[float]] = {}
    for block in re.finditer(r"^\s*Running (\w+?)\.*\s*$(.*?)(?=^\s*Running |\Z)", text, re.MULTILINE | re.DOTALL):
        rows = re.findall(r"^\s*\d+((?:\s+(?:\d+\.\d+|N/A))+)\s*$", block[2], re.MULTILINE)
        cells[block[1]] = [float(cell) for row in rows for cell in row.split() if cell != "N/A"]
    return cells


def _cells_of_document(document: Any) -> dict[str, list[float]]:
    inner = document.get("nvbandwidth") if isinstance(document, dict) else None
    cases = inner.get("testcases") if isinstance(inner, dict) else None
    cells: dict[str, list[float]] = {}
    for case in cases if isinstance(cases, list) else ():
        matrix = case.get("bandwidth_matrix") if isinstance(case, dict) else None
        rows: Sequence[Any] = matrix if isinstance(matrix, list) else ()
        flat = [cell for row in rows if isinstance(row, list) for cell in row]
        numbers = [str(cell) for cell in flat if re.fullmatch(r"\d+(?:\.\d+)?", str(cell))]
        cells[str(case.get("name"))] = [float(number) for number in numbers]
    return cells
