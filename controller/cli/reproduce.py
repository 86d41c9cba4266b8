"""``windtunnel reproduce``: published tables beside ours."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from controller.cli.options import json_option

if TYPE_CHECKING:
    from controller.reproduce.rows import ComparedRow, Paper, Value


@click.command()
@click.argument("names", metavar="PAPER...", nargs=-1, required=True)
@click.option("--processes", type=click.IntRange(min=1), help="Runs at the same time.  [default: one a core]")
@json_option
def reproduce(names: tuple[str, ...], processes: int | None, as_json: bool) -> None:
    """Run our side of every row of the published tables of each PAPER and print the error."""
    from controller.report.json_output import dumps
    from controller.report.progress import progress
    from controller.reproduce.runner import reproduce as compare
    from controller.reproduce.table import load_paper

    papers = [load_paper(name) for name in names]
    everything: list[ComparedRow] = []
    for paper in papers:
        with progress() as tell:
            rows = compare(paper, progress=tell, processes=processes)
        everything += rows
        if not as_json:
            _print(paper, rows)
    if as_json:
        click.echo(dumps([asdict(row) for row in everything]))


def _print(paper: Paper, rows: tuple[ComparedRow, ...]) -> None:
    from controller.report.tables import percent, show, table

    cells = [
        (
            row.table, row.row, _value(row.published), _value(row.ours), row.unit, row.mark, percent(row.error),
            "calibration" if row.calibration else "-" if row.tolerance is None else f"{row.tolerance:.0%}",
            "-" if row.ok is None else "ok" if row.ok else "MISS",
        )
        for row in rows
    ]  # fmt: skip
    columns = ("table", "row", "published", "ours", "unit", "mark", "error", "tolerance", "")
    show(table(columns, cells, paper.title))
    targets = [row for row in rows if row.ok is not None]
    click.echo(f"{sum(bool(row.ok) for row in targets)} of {len(targets)} targets met; {paper.knob or 'no knob'}")


def _value(value: Value) -> str:
    return value.split(" (")[0] if isinstance(value, str) else f"{value:.4g}"
