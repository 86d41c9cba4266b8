"""A comparison as table, CSV, plot and HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from controller.compare.candidates import Candidate
from controller.compare.measure import YEARS, ComparisonRow
from controller.compare.question import Axis, points
from controller.experiment.run import run_experiment
from controller.experiment.run_spec import RunSpec
from controller.report.html import run_sections
from controller.report.page import Section, table_section, write_page
from controller.report.plots import bar_plot, line_plot
from controller.report.tables import number, quantity

_CSV = (
    "tokens_per_s", "first_token_s", "per_token_s", "time_s", "bound", "joule_per_token", "hour_usd", "purchase_usd",
    "usd_per_million_tokens", "flash_written_bytes", "flash_wear_ratio",
)  # fmt: skip


def table_columns(rows: Sequence[ComparisonRow]) -> tuple[str, ...]:
    """Headings of the table of these rows: what was swept, then what came out."""
    return (
        "scheme", "runs", *_keys(rows), "tokens/s", "first token", "per token", "bound by", "J/token", "rent an hour",
        "purchase", "per million tokens", "flash written", "wear",
    )  # fmt: skip


def table_rows(rows: Sequence[ComparisonRow]) -> list[tuple[object, ...]]:
    """Cells for people; a row that did not run has its reason in the place of the bound."""
    keys = _keys(rows)
    return [
        (
            row.name,
            _what_ran(row),
            *(row.at.get(key) for key in keys),
            None if row.tokens_per_s is None else number(row.tokens_per_s),
            quantity(row.first_token_s, "s"),
            quantity(row.per_token_s, "s"),
            row.bound if row.outcome == "ok" else row.outcome,
            None if row.joule_per_token is None else f"{row.joule_per_token:.4g}{'+' if row.energy_is_least else ''}",
            _dollars(row.hour_usd, "+" if row.unrented else ""),
            _dollars(row.purchase_usd, "+" if row.unpriced else ""),
            _dollars(row.usd_per_million_tokens),
            quantity(row.flash_written_bytes, "bytes"),
            None if row.flash_wear_ratio is None else f"{row.flash_wear_ratio:.2e}",
        )
        for row in rows
    ]


def notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """What schemes say of themselves, and which power and prices the table lacks; each once."""
    found: list[str] = []
    reported = [(row.name, row.reports[key]) for row in rows for key in ("baseline", "note") if key in row.reports]
    found += dict.fromkeys(f"{name}: {text}" for name, text in reported)
    powerless = sorted({product for row in rows for product in row.powerless})
    if powerless:
        found.append(
            f"energy marked + is a least: no power, or none while idle, in the sheets of {', '.join(powerless)}"
        )
    if any(row.outcome == "ok" and row.joule_per_token is None for row in rows):
        found.append("J/token is empty where no device in use has its power in its sheet")
    unrented = sorted({product for row in rows for product in row.unrented})
    if unrented:
        found.append(f"no published rent of {', '.join(unrented)}: left out of rents marked +")
    unpriced = sorted({product for row in rows for product in row.unpriced})
    if unpriced:
        found.append(f"no published price of {', '.join(unpriced)}: left out of purchases marked +")
    if any(row.usd_per_million_tokens is None and row.unpriced and row.unrented for row in rows):
        found.append("dollars per token are empty where a product in use lacks its rent, and one its price")
    if any(row.usd_per_million_tokens is not None for row in rows):
        found.append(
            f"dollars per token: by rent where every price is published, else the purchase over {YEARS:g} years"
        )
    return found


def csv_text(rows: Sequence[ComparisonRow]) -> str:
    """The rows as CSV with a header: what ran, what was swept, the outcome and every quantity in base units."""
    keys = _keys(rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("name", "strategy", "topology", *keys, "outcome", *_CSV))
    for row in rows:
        cells = [getattr(row, name) for name in _CSV]
        writer.writerow(
            (row.name, row.strategy, row.topology, *(row.at.get(key, "") for key in keys), row.outcome,
             *("" if cell is None else cell for cell in cells))
        )  # fmt: skip
    return stream.getvalue()


def sweep_plot(rows: Sequence[ComparisonRow], axes: Sequence[Axis]) -> str:
    """Tokens/s as SVG: bars without a sweep of numbers, else a line a scheme over the first swept number."""
    axis = next((axis for axis in axes if all(map(_is_number, axis.values))), None)
    if axis is None:
        return bar_plot([_title(row) for row in rows], [row.tokens_per_s for row in rows], "tokens/s")
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        rest = [f"{key}={value}" for key, value in row.at.items() if key != axis.key]
        points = lines.setdefault(" ".join([row.name, *rest]), [])
        if row.tokens_per_s is not None:
            points.append((float(row.at[axis.key]), row.tokens_per_s))
    return line_plot({name: sorted(points) for name, points in lines.items() if points}, axis.key, "tokens/s")


def write_comparison_report(rows: Sequence[ComparisonRow], axes: Sequence[Axis], base: RunSpec, path: Path) -> None:
    """Writes the comparison as one HTML file, with the timeline and occupancy of the fastest scheme.

    Raises:
        UserError: the file cannot be written.
    """
    sections = [
        table_section("comparison", table_columns(rows), table_rows(rows), "; ".join(notes(rows))),
        Section("throughput", svg=sweep_plot(rows, axes)),
    ]
    written = [row for row in rows if row.joule_per_token is not None]
    if written:
        plot = bar_plot([_title(row) for row in written], [row.joule_per_token for row in written], "J/token")
        sections.append(Section("energy", svg=plot))
    sections += _closer_looks(rows, axes, base)
    write_page(f"{base.model}: a comparison of {len(rows)} runs", sections, path)


def _closer_looks(rows: Sequence[ComparisonRow], axes: Sequence[Axis], base: RunSpec) -> list[Section]:
    """The sections of the fastest run, which is executed once more with everything recorded."""
    best = max((row for row in rows if row.tokens_per_s is not None), key=_rate, default=None)
    if best is None:
        return []
    fixed = tuple(Axis(key, (value,)) for key, value in best.at.items())
    candidate = Candidate(best.name, best.strategy, best.source or None, best.options)
    (point,) = points(base, (candidate,), fixed)
    experiment = run_experiment(replace(point.request, explain=True, report=Path("report.html")))
    made = run_sections(experiment)
    return [replace(section, title=f"{_title(best)}: {section.title}") for section in made]


def _rate(row: ComparisonRow) -> float:
    return row.tokens_per_s or 0.0


def _keys(rows: Sequence[ComparisonRow]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row.at))


def _what_ran(row: ComparisonRow) -> str:
    options = [f"{key}={value}" for key, value in row.options.items() if key not in row.at]
    strategy = " ".join([row.strategy, *options])
    return f"{strategy} on {row.topology}" if row.topology else strategy


def _title(row: ComparisonRow) -> str:
    return " ".join([row.name, *(f"{key}={value}" for key, value in row.at.items())])


def _dollars(value: float | None, mark: str = "") -> str | None:
    return None if value is None else f"{value:,.6g} USD{mark}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
