"""``windtunnel compare``: one model and workload across strategies and topologies, and grids of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.format_options import format_options
from controller.cli.options import catalog_option, json_option, named_values, overrides_option

if TYPE_CHECKING:
    from controller.compare.measure import ComparisonRow


@click.command()
@click.argument("runs", metavar="[RUN1.json RUN2.json]", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", default="opt-13b", show_default=True, help="A name or a Hugging Face config.json.")
@click.option("--batch", type=int, default=1, show_default=True, help="Sequences processed together.")
@click.option("--prompt-tokens", type=int, help="Length of each prompt.  [default: 32]")
@click.option("--output-tokens", type=int, default=32, show_default=True, help="Tokens generated for each prompt.")
@click.option("--seq", type=int, help="Tokens of each sequence of a training strategy.  [default: 1024]")
@click.option("--steps", type=int, default=1, show_default=True, help="Optimizer steps of a training strategy.")
@click.option(
    "--candidate",
    "candidates",
    multiple=True,
    metavar="[NAME=]STRATEGY[@TOPOLOGY]",
    help="What to compare, instead of the shipped schemes. May be repeated.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=A,B,C",
    help="Run every candidate at every value: batch=16,64, csd.count=1,2,4, an option of a strategy. May be repeated.",
)
@click.option("--option", "option_texts", multiple=True, metavar="NAME=VALUE", help="An option of the strategies.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep finished rows there; the same command goes on where it was broken off.",
)
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows as CSV.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Write a plot.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html", help="Write one HTML file."
)
@click.option("--processes", type=click.IntRange(1), help="Runs at once.  [default: the cores of this machine]")
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT.")
@format_options
@overrides_option
@catalog_option
@json_option
def compare(
    runs: tuple[Path, ...],
    model: str,
    batch: int,
    prompt_tokens: int | None,
    output_tokens: int,
    seq: int | None,
    steps: int,
    candidates: tuple[str, ...],
    sweeps: tuple[str, ...],
    option_texts: tuple[str, ...],
    seed: int,
    out: Path | None,
    csv_path: Path | None,
    plot: Path | None,
    report: Path | None,
    processes: int | None,
    ray: str | None,
    dtype: str | None,
    quantization: str | None,
    kv_dtype: str | None,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare schemes: throughput, latency, energy, dollars, flash wear, and the resource that bounds each.

    A scheme that runs out of memory, or that cannot run at all, is a row that says so. With two files that
    `windtunnel run ... --json` wrote, says what differs between those runs instead.
    """
    if runs:
        _compare_kept(runs, as_json)
        return
    from controller.cli.engine import load_engine
    from controller.compare.candidates import GENERATION, parse_candidate
    from controller.compare.grid import run_grid
    from controller.compare.kept import BrokenOff
    from controller.compare.question import parse_axis, points
    from controller.experiment.run_spec import RunSpec
    from controller.report.comparison import csv_text, sweep_plot, write_comparison_report
    from controller.report.files import check_folders, write_text
    from controller.report.json_output import dumps
    from controller.report.progress import progress

    check_folders({"--csv": csv_path, "--plot": plot, "--report": report})
    base = RunSpec(
        "gpu_only", model, None, overrides, catalog, batch, prompt_tokens, output_tokens, seed=seed,
        options=named_values(option_texts), seq=seq, steps=steps, dtype=dtype, quantization=quantization,
        kv_dtype=kv_dtype,
    )  # fmt: skip
    chosen = tuple(map(parse_candidate, candidates)) or GENERATION
    axes = tuple(map(parse_axis, sweeps))
    asked = points(base, chosen, axes)
    load_engine()
    try:
        with progress() as tell:
            rows = run_grid(asked, folder=out, processes=processes, ray=ray, progress=tell)
    except BrokenOff as broken:
        click.echo(dumps([row.to_json() for row in broken.rows])) if as_json else _print(broken.rows, model)
        click.echo(f"windtunnel: {broken.advice()}", err=True)
        raise
    if csv_path is not None:
        write_text(csv_path, csv_text(rows))
    if plot is not None:
        write_text(plot, sweep_plot(rows, axes))
    if report is not None:
        write_comparison_report(rows, axes, base, report)
    if as_json:
        click.echo(dumps([row.to_json() for row in rows]))
    else:
        _print(rows, model)


def _compare_kept(runs: tuple[Path, ...], as_json: bool) -> None:
    """Says what differs between two kept runs."""
    from dataclasses import asdict

    from controller.compare.run_difference import BadKeptRun, differences, load_run
    from controller.report.difference_text import difference_lines, difference_tables
    from controller.report.json_output import dumps
    from controller.report.tables import show

    if len(runs) != 2:
        raise BadKeptRun(f"{len(runs)} kept run{'s' * (len(runs) > 1)} given; name two files that `run --json` wrote")
    first, second = map(load_run, runs)
    found = differences(first, second)
    if as_json:
        click.echo(dumps([{**asdict(each), "change": each.change} for each in found]))
        return
    click.echo(difference_lines((runs[0].name, runs[1].name), first, second, found).text())
    if not found:
        click.echo("\nnothing differs")
    for made in difference_tables(found):
        click.echo()
        show(made)


def _print(rows: tuple[ComparisonRow, ...], model: str) -> None:
    from controller.report.comparison import notes, table_columns, table_rows
    from controller.report.comparison_lines import comparison_lines
    from controller.report.tables import say, show, table, without_empty

    click.echo(comparison_lines(rows, model).text())
    click.echo()
    show(without_empty(table(table_columns(rows), table_rows(rows), "comparison")))
    for note in notes(rows):
        say(note)
