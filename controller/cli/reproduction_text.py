"""The five lines of ``windtunnel reproduce``, and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf

from controller.report.five_lines import FiveLines, first_fitting
from controller.report.tables import TextTable, number, percent, table
from controller.reproduce.null_models import NullModel, null_models
from controller.reproduce.rows import ComparedRow, Paper, Value
from controller.reproduce.standing import FAR, Standing, is_numeric, size_of_error, standing

LABELS = ("ran", "targets", "error", "knob", "values")
COLUMNS = ("row", "published", "ours", "unit", "error", "met")


def reproduction_lines(paper: Paper, rows: Sequence[ComparedRow]) -> FiveLines:
    """What a reproduced paper says first."""
    stands = standing(paper, rows)
    worst = max((row for row in rows if is_numeric(row)), key=size_of_error, default=None)
    runs = f", {len(paper.runs)} runs on the virtual clock" if paper.runs else ""
    text = f"{stands.met} of {stands.targets} published figures met within their tolerance"
    if not stands.targets:
        text = "none: no row of this paper is a target"
    aside = [f"{count} {word}" for count, word in ((stands.calibration, "calibration"), (stands.identity, "identity"))]
    nowhere = f"; {' and '.join(aside)} count nowhere" if stands.calibration + stands.identity else ""
    all_rows = (
        f"median {error_text(stands.median)} over all {stands.rows} numeric rows, {stands.outside} of them outside "
        f"{FAR:.0%}"
    )
    if not stands.rows:
        all_rows = identities_text(rows) or "none: no row has a published number that counts"
    farthest = "" if worst is None else f"; farthest: {worst.table}, {worst.row} ({percent(worst.error)})"
    return FiveLines(
        f"{paper.name}: {len(rows)} published rows{runs}",
        first_fitting((f"{text}{nowhere}", text)),
        first_fitting((f"{all_rows}{farthest}", all_rows)),
        first_fitting((paper.knob or "none was set", (paper.knob or "none was set").partition(",")[0])),
        "device time and rates beside published ones; no tensor was computed",
        LABELS,
    )


def identities_text(rows: Sequence[ComparedRow]) -> str:
    """How many of the rows that any right plan fulfils hold; "" for none."""
    found = [row for row in rows if row.identity]
    held = sum(row.holds is not False for row in found)
    return f"{held} of {len(found)} rows hold that any right schedule fulfils (identity)" if found else ""


def met_text(stands: Standing) -> str:
    """How many targets are met; "none" where a paper gives none."""
    return f"{stands.met} of {stands.targets}" if stands.targets else "none"


def reproduction_tables(paper: Paper, rows: Sequence[ComparedRow], everything: bool) -> Iterator[TextTable]:
    """A table for each published one: rows with a target alone, unless `everything` is asked for."""
    shown = [row for row in rows if everything or row.ok is not None]
    nulls = {each.table: f" ({null_text(each)})" for each in null_models(paper.rows)}
    for title in dict.fromkeys(row.table for row in shown):
        found = [_cells(row) for row in shown if row.table == title]
        yield table(COLUMNS, found, f"{title}{nulls.get(title, '')}")


def null_text(null: NullModel) -> str:
    """What a null model reaches of a table, and whether the table says anything then."""
    if null.error is None:
        return "too few rows for a null model"
    word = "" if null.informative else ": not informative"
    return f"geometric mean of a column: median error {null.error:.1%} at a tolerance of {null.tolerance:.0%}{word}"


def error_text(ratio: float | None) -> str:
    """A median in percent; inf where most rows have no value of ours."""
    return "-" if ratio is None else "no value" if isinf(ratio) else f"{ratio:.1%}"


def role(row: ComparedRow) -> str:
    """What a row counts as."""
    if row.tolerance is not None and row.error is None and not row.identity:
        return "exactly"
    if row.identity:
        return "identity"
    return "calibration" if row.calibration else "printed" if row.tolerance is None else f"within {row.tolerance:.0%}"


def verdict_word(row: ComparedRow) -> str:
    """Whether a row met its target; "" where it has none. An identity that does not hold is a mistake of ours."""
    if row.identity and row.holds is False:
        return "BROKEN"
    return "" if row.ok is None else "ok" if row.ok else "MISS"


def short_value(value: Value) -> str:
    """A value in four digits, or the beginning of a text."""
    if not isinstance(value, str):
        return number(value)
    return value.split(":")[0] if value.startswith("OOM at") else value.split(" (")[0]


def _cells(row: ComparedRow) -> tuple[str, ...]:
    published = f"{short_value(row.published)}{'*' if row.mark == 'PF' else ''}"
    met = f"{verdict_word(row)} {role(row)}".strip().replace("within ", "\N{PLUS-MINUS SIGN}")
    return row.row, published, short_value(row.ours), row.unit, percent(row.error), met
