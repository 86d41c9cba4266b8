"""What several reproduced papers say in a line each, and which of their rows are far off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from controller.cli.reproduction_text import error_text, identities_text, met_text, null_text
from controller.report.tables import percent
from controller.reproduce.far_off import FarOff, far_off
from controller.reproduce.null_models import null_models
from controller.reproduce.rows import ComparedRow, Paper
from controller.reproduce.standing import Standing, standing

SUMMARY = (
    "paper", "targets met", "numeric rows", "median error", "outside 25 %", "identity", "not informative", "the knob",
)  # fmt: skip
SHOWN_ROWS = 3
"""Rows of one reason that are named; the others are counted."""


def summary_cells(stands: Standing) -> tuple[str, ...]:
    """One line of the summary, as `SUMMARY` names its columns."""
    return (
        stands.paper,
        met_text(stands),
        str(stands.rows),
        error_text(stands.median),
        str(stands.outside),
        str(stands.identity),
        ", ".join(stands.uninformative) or "-",
        stands.knob or "none",
    )


def summary_markdown(lines: Sequence[tuple[str, ...]]) -> str:
    """The summary as a table of a README."""
    heads = (SUMMARY, ("---", "---:", "---:", "---:", "---:", "---:", "---", "---"))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (*heads, *lines))


def far_markdown(rows: Sequence[ComparedRow]) -> str:
    """Rows that are far off, one line a reason."""
    return "\n".join(f"- {far_line(each)}" for each in far_off(rows)) or "- none"


def far_line(far: FarOff) -> str:
    """Which rows, how far, and why."""
    names = "; ".join(far.rows[:SHOWN_ROWS])
    more = len(far.rows) - SHOWN_ROWS
    others = f" and {more} more" if more > 0 else ""
    if far.least is None or far.most is None:
        size = "no value of ours"
    else:
        size = percent(far.least) if far.least == far.most else f"{percent(far.least)} to {percent(far.most)}"
    return f"{far.paper}, {far.table}: {names}{others} ({size}): {far.why}"


def summary_documents(papers: Sequence[Paper], rows: Sequence[Sequence[ComparedRow]]) -> list[dict[str, Any]]:
    """The summary for ``--json``."""
    found = []
    for paper, compared in zip(papers, rows, strict=True):
        stands = standing(paper, compared)
        far = [asdict(each) for each in far_off(compared)]
        found.append({**asdict(stands), "uninformative": list(stands.uninformative), "far_off": far})
    return found


def row_documents(paper: Paper, rows: Sequence[ComparedRow]) -> list[dict[str, Any]]:
    """Every row for ``--json``, with the null model of its table."""
    nulls = {each.table: each for each in null_models(paper.rows)}
    found = []
    for row in rows:
        null = nulls.get(row.table)
        beside = {"null_error": None if null is None else null.error, "informative": null is None or null.informative}
        found.append({**asdict(row), **beside})
    return found


def verdict(paper: Paper, rows: Sequence[ComparedRow]) -> str:
    """What stands below the rows of a paper."""
    stands = standing(paper, rows)
    whole = "no row is a target"
    if stands.targets:
        whole = f"{met_text(stands)} targets met (median error {error_text(stands.target_median)})"
    if stands.rows:
        whole += (
            f"; over all {stands.rows} numeric rows the median error is {error_text(stands.median)}, and "
            f"{stands.outside} are outside 25 %"
        )
    held = identities_text(rows)
    whole += f"; {held}" if held else ""
    aside = f"{stands.identity} identity and {stands.calibration} calibration rows count nowhere"
    nulls = "".join(f" {each.table}: {null_text(each)}." for each in stands.null)
    plain = f" {paper.plain}." if paper.plain else ""
    marks = "Marks: P read in the text, PF read off a figure."
    return f"{whole}; {aside}. Knob: {paper.knob or 'none'}.{nulls}{plain} {marks}"
