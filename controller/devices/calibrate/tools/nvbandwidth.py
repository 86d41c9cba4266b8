"""nvbandwidth: matrices of copies, one a pair of devices, as text or as the object that --json writes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from controller.devices.calibrate.tools.found import Found, refuse_other_unit
from controller.errors import BadMeasurements

PATHS: Final[Mapping[str, str]] = {
    "host_to_device_memcpy_ce": "pcie.write",
    "device_to_host_memcpy_ce": "pcie.read",
    "device_to_device_memcpy_read_ce": "nvlink.read",
    "device_to_device_memcpy_write_ce": "nvlink.write",
    "multinode_device_to_device_memcpy_read_ce": "nvlink.read",
    "multinode_device_to_device_memcpy_write_ce": "nvlink.write",
    "host_to_device_memcpy_sm": "pcie.write",
    "device_to_host_memcpy_sm": "pcie.read",
    "device_to_device_memcpy_read_sm": "nvlink.read",
    "device_to_device_memcpy_write_sm": "nvlink.write",
    "multinode_device_to_device_memcpy_read_sm": "nvlink.read",
    "multinode_device_to_device_memcpy_write_sm": "nvlink.write",
    "device_local_copy": "hbm.read",
}
"""Test to constant; copies by kernels (``sm``) speak where those by copy engines (``ce``) are absent."""
EVEN = 0.75
"""Pairs whose copies differ more than this ratio have no links of one kind between them."""


Matrix = list[list[float | None]]
"""Figures by row and column; None where there is none."""


def read_nvbandwidth(text: str, where: str) -> list[Found]:
    """The rate of each kind of copy that says what one port or memory does.

    Raises:
        BadMeasurements: a test that failed, or none that is of one direction between two ends.
    """
    refuse_other_unit(text, r"bandwidth \(([^)\n]+)\)", "GB/s", where)
    matrices = _matrices_of(text, where)
    found: dict[str, Found] = {}
    for name, path in PATHS.items():
        values = sorted(_one_each(matrices.get(name, []), by_column=path.startswith("pcie")))
        if not values or path in found:
            continue
        median, how = values[len(values) // 2], f"median of {len(values)}"
        if path.startswith("nvlink") and values[0] < EVEN * values[-1]:
            # Pairs without NVLink copy over PCIe; what their links do is told by those that have them.
            median, how = values[-1], f"largest of {len(values)}, which are not all joined by NVLink"
        # A copy within a device reads and writes each byte: nvbandwidth counts it once, the bus twice.
        rate = 2 * median if path == "hbm.read" else median
        found[path] = Found(path, f"{rate:g} GB/s", f"nvbandwidth {name}, {how}")
    if not found:
        tests = f" (its tests: {', '.join(list(matrices)[:3])})" if matrices else ""
        raise BadMeasurements(
            f"{where}: output of nvbandwidth, but no figure of one direction between two ends in it{tests}; "
            f"run it with -t host_to_device_memcpy_ce device_to_host_memcpy_ce device_to_device_memcpy_read_ce "
            "device_local_copy"
        )
    return list(found.values())


def _one_each(matrix: Matrix, by_column: bool) -> list[float]:
    """Every figure; of copies with the host that of its nearest processor, where several have a row."""
    if by_column and len(matrix) > 1 and len({len(row) for row in matrix}) == 1:
        columns = ([cell for cell in column if cell is not None] for column in zip(*matrix, strict=True))
        return [max(column) for column in columns if column]
    return [cell for row in matrix for cell in row if cell is not None]


def _matrices_of(text: str, where: str) -> dict[str, Matrix]:
    """The matrix of each test: named by the line ``Running`` before it, or by the sum below it."""
    try:
        document = json.loads(text[text.index("{") :])
    except ValueError:
        pass
    else:
        return _matrices_of_document(document, where)
    found: dict[str, Matrix] = {}
    running, rows = "", Matrix()
    for line in text.splitlines():
        if begun := re.match(r"\s*Running (\w+?)\.*\s*$", line):
            running, rows = begun[1], []
        elif re.match(r"\s*memcpy .*bandwidth", line):
            rows = []
        elif re.match(r"\s*\d+(?:\s+(?:\d+\.\d+|N/A))+\s*$", line):
            rows.append([None if cell == "N/A" else float(cell) for cell in line.split()[1:]])
        elif total := re.match(r"\s*SUM (\w+)", line):
            running = total[1]
        if running and rows:
            found[running] = rows
    return found


def _matrices_of_document(document: Any, where: str) -> dict[str, Matrix]:
    inner = document.get("nvbandwidth") if isinstance(document, dict) else None
    cases = inner.get("testcases") if isinstance(inner, dict) else None
    found: dict[str, Matrix] = {}
    for case in cases if isinstance(cases, list) else ():
        status = str(case.get("status", "")) if isinstance(case, dict) else ""
        if status.lower().startswith(("error", "fail")):
            raise BadMeasurements(
                f"{where}: the test {case.get('name')} ended with {status!r}; paste a run in which it passed"
            )
        matrix = case.get("bandwidth_matrix") if isinstance(case, dict) else None
        rows: Sequence[Any] = matrix if isinstance(matrix, list) else ()
        found[str(case.get("name"))] = [[_figure(cell) for cell in row] for row in rows if isinstance(row, list)]
    return found


def _figure(cell: object) -> float | None:
    return float(str(cell)) if re.fullmatch(r"\d+(?:\.\d+)?", str(cell)) else None
