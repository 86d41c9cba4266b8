"""Sums up how far models are from measurements: over all rows, by decade of the measured time, and by bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from pathlib import Path
from statistics import median

from controller.devices.validate.files import is_table, read_measured
from controller.devices.validate.measured import MeasuredFile, MeasuredRow
from controller.devices.validate.repeatability import Repeatability, stated_repeatability
from controller.errors import BadMeasurements

WORST = 10
"""Rows that are shown of the worst."""


@dataclass(frozen=True, slots=True)
class Slice:
    """How far the models are from some rows of a file.

    Attributes:
        file, device, table: where the rows are from.
        slice: ``all``, a decade of the measured time (``10-100 us``) or a bound (``bound: hbm``).
        rows: that are compared.
        dropped: rows of the file that are not, for ``all``; 0 for the others.
        median, p90: of \\|model / measured - 1\\|; None without rows.
        bias: median of model / measured - 1; None without rows.
        repeatability: of the measurement, for ``all``, where the README of the data states it.
    """

    file: str
    device: str
    table: str
    slice: str
    rows: int
    dropped: int
    median: float | None
    p90: float | None
    bias: float | None
    repeatability: Repeatability | None = None


def compared(folder: Path, catalog: Sequence[str | Path] = ()) -> list[MeasuredFile]:
    """Every CSV file of `folder` beside the models, by name.

    Raises:
        BadMeasurements: `folder` is none, or holds no CSV file.
    """
    if folder.is_file():
        return [_with_repeatability(read_measured(folder, catalog), stated_repeatability(folder.parent))]
    if not folder.is_dir():
        raise BadMeasurements(f"{folder}: no such folder; give one with files such as h100_sxm_gemm_bf16.csv.gz")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and is_table(path))
    if not paths:
        raise BadMeasurements(f"{folder}: holds no .csv or .csv.gz file")
    stated = stated_repeatability(folder)
    return [_with_repeatability(read_measured(path, catalog), stated) for path in paths]


def _with_repeatability(measured: MeasuredFile, stated: Sequence[Repeatability]) -> MeasuredFile:
    found = next((each for each in stated if each.of(measured.device, measured.table)), None)
    return replace(measured, repeatability=found)


def slices(measured: MeasuredFile) -> list[Slice]:
    """The slices of one file: all rows first, then decades from short to long, then bounds by name."""
    whole = _slice(measured, "all", measured.rows, measured.dropped)
    result = [replace(whole, repeatability=measured.repeatability)]
    decades = sorted({_decade(row) for row in measured.rows})
    for decade in decades:
        rows = [row for row in measured.rows if _decade(row) == decade]
        result.append(_slice(measured, _decade_name(decade), rows))
    for bound in sorted({row.predicted.bound for row in measured.rows}):
        rows = [row for row in measured.rows if row.predicted.bound == bound]
        result.append(_slice(measured, f"bound: {bound}", rows))
    return result


def worst(measured: MeasuredFile, count: int = WORST) -> list[MeasuredRow]:
    """The `count` rows with the largest error; of equal ones the first in the file."""
    return sorted(measured.rows, key=lambda row: (-abs(row.error), row.line))[:count]


def _slice(measured: MeasuredFile, name: str, rows: Sequence[MeasuredRow], dropped: int = 0) -> Slice:
    errors = [row.error for row in rows]
    sizes = sorted(abs(error) for error in errors)
    return Slice(
        file=measured.name,
        device=measured.device,
        table=measured.table,
        slice=name,
        rows=len(rows),
        dropped=dropped,
        median=median(sizes) if sizes else None,
        # The smallest error that at least 90 % of the rows do not exceed.
        p90=sizes[ceil(0.9 * len(sizes)) - 1] if sizes else None,
        bias=median(errors) if errors else None,
    )


def _decade(row: MeasuredRow) -> int:
    return floor(log10(row.measured_s) + 1e-12)


def _decade_name(decade: int) -> str:
    names = {-9: "ns", -6: "us", -3: "ms", 0: "s"}
    step = 3 * floor(decade / 3)
    unit = names.get(step, f"e{step} s")
    low = 10 ** (decade - step)
    return f"{low}-{10 * low} {unit}"
