"""nccl-tests and rccl-tests: the bus bandwidth of a collective within one host is the rate of a GPU's links.

Columns are found by the heading: before 2.13 there is no column ``root`` and the last one is ``error``, and some
versions leave cells empty. So figures are counted from the right end of a row, and the size from its element type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from controller.devices.calibrate.tools.found import Found
from controller.errors import BadMeasurements

_ROW = re.compile(r"(\d+)\s+\d+\s+(?:u?int\w*|u?char|half|float\w*|double|bfloat16|fp8\w*|f8\w*|f?b?f\d+)\b(.*)$")
_RANK = re.compile(r"^#?\s*Rank\s+(\d+)\b.*?\bon\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s*(.*)$", re.MULTILINE)
_CELL = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?|N/A|nan|-?inf", re.IGNORECASE)
_AMD = re.compile(r"\bAMD\b|Instinct|\bgfx9|rccl|device\s+\d+\s+\[[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.\d\]")
"""What GPUs of AMD are known by; ROCm before 5.5 names none, but writes their slots with a function."""
SMALLEST_BYTES = 1 << 20
"""Below, a collective is waiting for its messages, and its bandwidth tells nothing of a link."""


def read_nccl_tests(text: str, where: str) -> list[Found]:
    """The largest bus bandwidth out of place, as the rate of a GPU's links to others of its host.

    Raises:
        BadMeasurements: ranks on several hosts or one rank alone, wrong results, messages that are all small.
    """
    document = _document(text)
    rows = _rows(text) if document is None else _rows_of(document)
    if not rows:
        return []
    _refuse_what_is_no_link(text, where)
    size, busbw = max(rows, key=lambda row: row[1])
    if busbw <= 0:
        raise BadMeasurements(
            f"{where}: no row has a bus bandwidth; run it with -g 2 or more, since one rank moves nothing"
        )
    if max(size for size, _ in rows) < SMALLEST_BYTES:
        raise BadMeasurements(
            f"{where}: the largest message has {max(size for size, _ in rows)} bytes, too few to tell the rate of a "
            f"link; run it again with -e 1G"
        )
    _refuse_other_hosts(document or {}, where)
    port = "xgmi" if _AMD.search(text) else "nvlink"
    method = f"nccl-tests, largest bus bandwidth out of place, at {size} bytes"
    caveat = "; ".join(_open_questions(text, document, port))
    return [Found(f"{port}.{side}", f"{busbw:g} GB/s", method, caveat) for side in ("read", "write")]


def _open_questions(text: str, document: Mapping[str, Any] | None, port: str) -> list[str]:
    """What the output does not say and the figure hangs on."""
    found = []
    if document is None and not _RANK.search(text):
        found.append("the output names no ranks, so that the figure may be that of a network between hosts")
    sums = re.search(r"all_?reduce", text, re.IGNORECASE) or re.search(
        r"^\s*\d+\s+\d+\s+\w+\s+(?:sum|avg)\s+-1\b", text, re.MULTILINE
    )
    if (
        port == "nvlink"
        and sums
        and not re.search(r"NCCL_NVLS_ENABLE=0|NCCL_ALGO=\W*(?:ring|tree)", text, re.IGNORECASE)
    ):
        found.append(
            "of an all-reduce that switches add up (NVLS, from Hopper on) the bus bandwidth is more than a link carries"
        )
    return found


def _rows(text: str) -> list[tuple[int, float]]:
    """(message size [bytes], bus bandwidth out of place [GB/s]) of every row."""
    found: list[tuple[int, float]] = []
    names: list[str] = []
    for line in text.splitlines():
        words = line.lstrip("# \t").split()
        if "size" in words and "busbw" in words:
            # Pages that show Markdown lose the mark before the heading.
            names = words[words.index("time") :] if "time" in words else []
            continue
        # mpirun --tag-output may put its label into the middle of a line that is written in parts.
        row = None if line.lstrip().startswith("#") else _ROW.search(re.sub(r"\[\d+\]", " ", line))
        if row is None or "busbw" not in names:
            continue
        cells = row[2].split()[-len(names) :]
        if len(cells) == len(names) and all(map(_CELL.fullmatch, cells)):
            figure = cells[names.index("busbw")]
            if figure.upper() != "N/A":
                found.append((int(row[1]), float(figure)))
    return found


def _document(text: str) -> Mapping[str, Any] | None:
    """The object that nccl-tests -J writes; None when the text is a table."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _rows_of(document: Mapping[str, Any]) -> list[tuple[int, float]]:
    rows = document.get("results")
    found = []
    for row in rows if isinstance(rows, list) else ():
        half = row.get("out_of_place") if isinstance(row, dict) else None
        rate = half.get("bus_bw", half.get("busbw")) if isinstance(half, dict) else None
        if isinstance(rate, int | float) and isinstance(row.get("size"), int):
            found.append((row["size"], float(rate)))
    return found


def _refuse_what_is_no_link(text: str, where: str) -> None:
    ranks = _RANK.findall(text)
    hosts = list(dict.fromkeys(host for _, host, _ in ranks))
    if len(hosts) > 1:
        raise BadMeasurements(
            f"{where}: the ranks are on {len(hosts)} hosts ({', '.join(hosts[:3])}), so the figure is that of the "
            f"network between them and not of a GPU's links; paste a run within one host"
        )
    if re.search(r"Out of bounds values\s*:\s*\d+\s+FAILED", text):
        raise BadMeasurements(f"{where}: the results of the collective are wrong (FAILED); paste a run that is right")


def _refuse_other_hosts(document: Mapping[str, Any], where: str) -> None:
    devices = document.get("devices")
    entries = [each for each in devices if isinstance(each, dict)] if isinstance(devices, list) else []
    hosts = {str(each.get("hostname", each.get("host", ""))) for each in entries} - {""}
    if len(hosts) > 1:
        raise BadMeasurements(
            f"{where}: the ranks are on {len(hosts)} hosts, so the figure is that of the network between them and not "
            f"of a GPU's links; paste a run within one host"
        )
