"""``windtunnel validate``: the device models beside measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import catalog_option, json_option

if TYPE_CHECKING:
    from controller.devices.validate.compare import Slice
    from controller.devices.validate.measured import MeasuredFile

WRONG_INPUT = 2
"""Exit code when a file is wrong, or no row of any could be compared; rows that were left out are told, and are no
failure."""


@click.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A folder of files such as h100_sxm_gemm_bf16.csv.gz, or one such file.",
)
@click.option("--worst", "show_worst", default=10, show_default=True, help="Rows to show of the worst of each file.")
@click.option("--markdown", is_flag=True, help="Print one table for a README.")
@catalog_option
@json_option
def validate(data: Path, show_worst: int, markdown: bool, catalog: tuple[Path, ...], as_json: bool) -> int:
    """Compare measurements with the device models: median, 90th percentile and bias of model / measured - 1."""
    from controller.devices.validate.compare import compared, slices
    from controller.devices.validate.markdown import error_sheet
    from controller.report.json_output import dumps

    if markdown and as_json:
        raise click.UsageError("give --markdown or --json, not both")
    files = compared(data, catalog)
    found = [slices(each) for each in files]
    if as_json:
        click.echo(dumps([part for parts in found for part in parts]))
    elif markdown:
        click.echo(error_sheet([parts[0] for parts in found]), nl=False)
    else:
        for each, parts in zip(files, found, strict=True):
            _print(each, parts, show_worst)
    for each in files:
        for refusal in each.refusals:
            click.echo(f"left out: {refusal}", err=True)
        if each.unusable:
            click.echo(f"{'error' if each.wrong else 'left out'}: {each.unusable}", err=True)
    dropped = sum(each.dropped for each in files)
    total = sum(each.row_count for each in files)
    touched = sum(bool(each.dropped or each.unusable) for each in files)
    click.echo(f"{dropped} of {total} rows left out, in {touched} files", err=True)
    nothing = not any(each.rows for each in files)
    if nothing:
        click.echo(f"error: {data}: no row could be compared, for the reasons above", err=True)
    return WRONG_INPUT if nothing or any(each.wrong for each in files) else 0


def _print(measured: MeasuredFile, parts: list[Slice], count: int) -> None:
    from controller.devices.validate.compare import worst
    from controller.report.tables import percent, show, table

    title = f"{measured.name}: {measured.table} on {measured.device or 'no device'}"
    if measured.unusable:
        click.echo(f"{title}: {measured.row_count} rows, all left out\n  {measured.unusable}\n")
        return
    rows = [
        (
            part.slice,
            part.rows,
            part.dropped,
            percent(part.median, sign=""),
            percent(part.p90, sign=""),
            percent(part.bias),
        )
        for part in parts
    ]
    show(table(("slice", "rows", "left out", "|error| median", "|error| p90", "bias"), rows, title))
    if measured.repeatability is not None:
        click.echo(f"  repeatability: {measured.repeatability.text}")
    if count < 1 or not measured.rows:
        click.echo()
        return
    cells = [
        (
            f"{measured.name}:{row.line}",
            " ".join(f"{name}={value}" for name, value in row.sizes.items()),
            f"{row.measured_s * 1e6:.5g}",
            f"{row.predicted.time_s * 1e6:.5g}",
            percent(row.error),
            row.predicted.bound,
        )
        for row in worst(measured, count)
    ]
    show(table(("worst rows", "sizes", "measured us", "model us", "error", "bound"), cells))
    click.echo()
