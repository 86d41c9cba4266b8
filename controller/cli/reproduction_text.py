"""The five lines of ``windtunnel reproduce``, and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from controller.report.five_lines import FiveLines, first_fitting
from controller.report.tables import TextTable, percent, table
from controller.reproduce.rows import ComparedRow, Paper, Value

LABELS = ("ran", "targets", "error", "knob", "values")
COLUMNS = ("row", "published", "ours", "unit", "error", "met")


def reproduction_lines(paper: Paper, rows: Sequence[ComparedRow]) -> FiveLines:
    """What a reproduced paper says first."""
    targets = [row for row in rows if row.ok is not None]
    errors = [abs(row.error) for row in targets if row.error is not None]
    worst = max(targets, key=lambda row: abs(row.error or 0.0), default=None)
    met = sum(bool(row.ok) for row in targets)
    printed = sum(row.ok is None and not row.calibration for row in rows)
    runs = f", {len(paper.runs)} runs on the virtual clock" if paper.runs else ""
    text = f"{met} of {len(targets)} published figures met within their tolerance"
    middle = percent(median(errors), sign="") if errors else "-"
    farthest = "" if worst is None else f"; farthest: {worst.table}, {worst.row} ({percent(worst.error)})"
    return FiveLines(
        f"{paper.name}: {len(rows)} published rows{runs}",
        first_fitting((f"{text}; {printed} more are printed only", text)),
        first_fitting((f"median {middle} over these{farthest}", f"median {middle} over these")),
        first_fitting((paper.knob or "none was set", (paper.knob or "none was set").partition(",")[0])),
        "device time and rates beside published ones; no tensor was computed",
        LABELS,
    )


def reproduction_tables(rows: Sequence[ComparedRow], everything: bool) -> Iterator[TextTable]:
    """A table for each published one: rows with a target alone, unless `everything` is asked for."""
    shown = [row for row in rows if everything or row.ok is not None]
    for title in dict.fromkeys(row.table for row in shown):
        yield table(COLUMNS, [_cells(row) for row in shown if row.table == title], title)


def role(row: ComparedRow) -> str:
    """What a row counts as."""
    if row.tolerance is not None and row.error is None:
        return "exactly"
    return "calibration" if row.calibration else "printed" if row.tolerance is None else f"within {row.tolerance:.0%}"


def verdict_word(row: ComparedRow) -> str:
    """Whether a row met its target; "" where it has none."""
    return "" if row.ok is None else "ok" if row.ok else "MISS"


def short_value(value: Value) -> str:
    """A value in four digits, or the beginning of a text."""
    if not isinstance(value, str):
        return f"{value:.4g}"
    return value.split(":")[0] if value.startswith("OOM at") else value.split(" (")[0]


def _cells(row: ComparedRow) -> tuple[str, ...]:
    published = f"{short_value(row.published)}{'*' if row.mark == 'PF' else ''}"
    met = f"{verdict_word(row)} {role(row)}".strip().replace("within ", "\N{PLUS-MINUS SIGN}")
    return row.row, published, short_value(row.ours), row.unit, percent(row.error), met
