"""``windtunnel reproduce``: published tables beside ours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import json_option

if TYPE_CHECKING:
    from controller.compare.kept import BrokenOff
    from controller.reproduce.rows import ComparedRow, Paper, Value


LEAST_ELASTICITY = 0.02
"""Below it a table of sensitivities leaves a row out."""
COLUMNS = ("table", "row", "published", "ours", "unit", "mark", "error", "target", "")


@click.command()
@click.argument("names", metavar="PAPER...", nargs=-1, required=True)
@click.option("--processes", type=click.IntRange(min=1), help="Runs at the same time.  [default: one a core]")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown tables instead.")
@click.option(
    "--sensitivity",
    "as_sensitivity",
    is_flag=True,
    help="Print how much each compared row hangs on each assumed constant (many runs: minutes).",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep finished runs there; the same command goes on where it was broken off.  [default: windtunnel's cache]",
)
@click.option(
    "--only",
    "only",
    multiple=True,
    metavar="TEXT",
    help="Run and print only rows that TEXT is a value of, such as the id of a training row. May be repeated.",
)
@click.option("--details", is_flag=True, help="Print the rows without a target, too.")
@click.option("--summary", "as_summary", is_flag=True, help="Print a line for each paper instead of its rows.")
@click.option("--far", "as_far", is_flag=True, help="List the rows that are off by a factor of 2, and why, instead.")
@json_option
def reproduce(
    names: tuple[str, ...],
    processes: int | None,
    as_markdown: bool,
    as_sensitivity: bool,
    out: Path | None,
    only: tuple[str, ...],
    details: bool,
    as_summary: bool,
    as_far: bool,
    as_json: bool,
) -> None:
    """Run our side of every row of the published tables of each PAPER and print the error; `all` is every paper but
    training, which captures a program for each of its rows and takes hours: ask for it by name.

    Finished runs are kept, so Ctrl-C loses none; they hold until the code, a sheet or a topology changes. A run that
    fails costs its own rows only, and the exit code is 1.
    """
    from controller.cli.engine import load_engine
    from controller.cli.reproduction_summary import far_markdown, row_documents, summary_cells, summary_documents
    from controller.compare.kept import BrokenOff
    from controller.report.json_output import dumps
    from controller.report.progress import progress
    from controller.reproduce.runner import reproduce as compare
    from controller.reproduce.standing import standing
    from controller.reproduce.table import FOR_HOURS, PAPERS, load_paper

    asked = [name for name in PAPERS if name not in FOR_HOURS] if names == ("all",) else names
    papers = [load_paper(name) for name in asked]
    if only:
        papers = [paper.only(only) for paper in papers]
        if not any(paper.rows for paper in papers):
            raise click.UsageError(f"--only {' '.join(only)}: no row of {', '.join(asked)} has that value")
    load_engine()
    folder = out or _cache()
    if as_sensitivity:
        _sensitivities(papers, folder, processes, as_json)
        return
    everything: list[tuple[ComparedRow, ...]] = []
    broken: BrokenOff | None = None
    for paper in papers:
        try:
            with progress() as tell:
                rows = compare(paper, folder=folder, progress=tell, processes=processes)
        except BrokenOff as error:
            broken, rows = error, error.rows
        everything.append(rows)
        if as_summary or as_far:
            continue
        if as_markdown:
            click.echo(_markdown(paper, rows))
        elif not as_json:
            _print(paper, rows, details)
        if broken is not None:
            break
    done = papers[: len(everything)]
    if as_json and as_summary:
        click.echo(dumps(summary_documents(done, everything)))
    elif as_json:
        pairs = zip(done, everything, strict=True)
        click.echo(dumps([row for paper, rows in pairs for row in row_documents(paper, rows)]))
    elif as_summary:
        stands = [standing(paper, rows) for paper, rows in zip(done, everything, strict=True)]
        _print_summary([summary_cells(each) for each in stands], as_markdown)
    if as_far and not as_json:
        click.echo(far_markdown([row for rows in everything for row in rows]))
    _end(broken, {row.ours for rows in everything for row in rows})


def _cache() -> Path:
    from controller.compare.digest import code_digest
    from controller.models.cache_folder import cache_root

    return cache_root() / f"reproduce-{code_digest()}"


def _end(broken: BrokenOff | None, values: Collection[Value]) -> None:
    """Says how to go on after Ctrl-C, or fails when a run could not be run."""
    from controller.compare.measure import CANNOT_RUN

    if broken is not None:
        click.echo(f"windtunnel: {broken.advice()}", err=True)
        raise broken
    if any(isinstance(value, str) and value.startswith(CANNOT_RUN) for value in values):
        raise click.exceptions.Exit(1)


def _print_summary(lines: list[tuple[str, ...]], as_markdown: bool) -> None:
    from controller.cli.reproduction_summary import SUMMARY, summary_markdown
    from controller.report.tables import show, table

    if as_markdown:
        click.echo(summary_markdown(lines))
    else:
        show(table(SUMMARY, lines, "reproductions"))


def _sensitivities(papers: list[Paper], folder: Path, processes: int | None, as_json: bool) -> None:
    from controller.cli.reproduction_text import short_value
    from controller.compare.kept import BrokenOff
    from controller.report.json_output import dumps
    from controller.report.progress import progress
    from controller.report.tables import show, table
    from controller.reproduce.sensitivity import Sensitivity, sensitivity

    everything: list[Sensitivity] = []
    broken: BrokenOff | None = None
    for paper in papers:
        try:
            with progress() as tell:
                found = sensitivity(paper, folder=folder, progress=tell, processes=processes)
        except BrokenOff as error:
            broken, found = error, error.rows
        everything += found
        if broken is not None and as_json:
            break
        if as_json:
            continue
        felt = [entry for entry in found if entry.elasticity is None or abs(entry.elasticity) >= LEAST_ELASTICITY]
        felt.sort(key=lambda entry: -abs(entry.elasticity or 0.0))
        rows = [
            (
                entry.table, entry.row, entry.constant, entry.value, entry.changed_to, short_value(entry.ours),
                short_value(entry.changed),
                "-" if entry.elasticity is None else f"{entry.elasticity:+.2f}",
            )
            for entry in felt
        ]  # fmt: skip
        columns = ("table", "row", "assumed constant", "declared", "changed to", "ours", "ours then", "elasticity")
        show(table(columns, rows, f"{paper.title}: what hangs on assumptions"))
        click.echo(
            f"{len(found) - len(felt)} pairs of a row and a constant are left out: below {LEAST_ELASTICITY:g} (--json "
            f"has them)"
        )
        if broken is not None:
            break
    if as_json:
        click.echo(dumps([asdict(entry) for entry in everything]))
    _end(broken, {entry.ours for entry in everything})


def _print(paper: Paper, rows: tuple[ComparedRow, ...], details: bool) -> None:
    from controller.cli.reproduction_summary import verdict
    from controller.cli.reproduction_text import reproduction_lines, reproduction_tables
    from controller.report.tables import say, show

    click.echo(reproduction_lines(paper, rows).text())
    for made in reproduction_tables(paper, rows, details):
        click.echo()
        show(made)
    click.echo()
    say(verdict(paper, rows))
    say("* read off a figure" + ("" if details else "; rows without a target: --details"))
    click.echo()


def _markdown(paper: Paper, rows: tuple[ComparedRow, ...]) -> str:
    from controller.cli.reproduction_summary import verdict

    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *map(_cells, rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\n{verdict(paper, rows)}"


def _cells(row: ComparedRow) -> tuple[str, ...]:
    from controller.cli.reproduction_text import role, short_value, verdict_word
    from controller.report.tables import percent

    published, ours = short_value(row.published), short_value(row.ours)
    return row.table, row.row, published, ours, row.unit, row.mark, percent(row.error), role(row), verdict_word(row)
