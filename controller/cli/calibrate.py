"""``windtunnel calibrate``: measurements of a device become constants of a sheet."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import catalog_option, json_option

if TYPE_CHECKING:
    from controller.devices.validate.compare import Slice


@click.command()
@click.option("--device", required=True, metavar="D", help="The product to start from, or an alias of it.")
@click.option("--data", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file such as h100_sxm_gemm_bf16.csv.gz. May be repeated.")  # fmt: skip
@click.option("--pasted", multiple=True, type=click.Path(exists=True, allow_dash=True, dir_okay=False, path_type=Path),
              help="Output of nccl-tests, nvbandwidth, fio or Intel MLC; - for standard input.")  # fmt: skip
@click.option("--product", metavar="NAME", help="Name of the new sheet.  [default: the device with _calibrated]")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the sheet; else it is printed."
)
@click.option("--date", help="When it was measured, YYYY-MM-DD.  [default: when the file was last changed]")
@catalog_option
@json_option
def calibrate(
    device: str, data: tuple[Path, ...], pasted: tuple[Path, ...], product: str | None, out: Path | None,
    date: str | None, catalog: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Fit the few constants of a device to measurements, report the error on shapes left out, write a sheet."""
    from controller.devices.calibrate.fit import fit_file
    from controller.devices.calibrate.pasted import (
        in_sheet,
        other_device,
        read_pasted,
        refuse_beyond_peak,
        said_of_slow_memory,
    )
    from controller.devices.calibrate.sheet import calibrated_sheet
    from controller.devices.predict.products import find_product
    from controller.report.json_output import dumps

    if not data and not pasted:
        raise click.UsageError("give measurements: --data FILE, --pasted FILE, or both")
    if date is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise click.BadParameter(f"{date!r} is not of the form YYYY-MM-DD", param_hint="--date")
    spec = find_product(device, catalog)
    base = spec.product
    constants: dict[str, tuple[str, str]] = {}
    reports = []
    for path in data:
        _say_other_device(path, base, catalog)
        fit, spec, measured = fit_file(path, spec)
        for refusal in measured.refusals:
            click.echo(f"left out: {refusal}", err=True)
        error = f"{100 * (fit.left_out.median or 0.0):.1f} %"
        source = (
            f"windtunnel calibrate: {path.name}, measured {date or _changed(path)}; coordinate search on "
            f"{fit.fitted.rows} rows, median error {error} on {fit.left_out.rows} others, {measured.dropped} unusable"
        )
        constants |= {name: (text, source) for name, text in fit.constants.items()}
        reports.append(fit)
    found_by: list[dict[str, Any]] = []
    for path in pasted:
        dash = str(path) == "-"
        text = sys.stdin.read() if dash else path.read_text(encoding="utf-8")
        tool, found = read_pasted(text, path.name)
        if named := other_device(text, spec):
            click.echo(f"{path.name} is of {named}; its figures go into the sheet of {base}", err=True)
        found, left = in_sheet(found, spec, path.name)
        for line in left:
            click.echo(f"left out: {path.name}: {line}", err=True)
        for caveat in dict.fromkeys(each.caveat for each in found if each.caveat):
            click.echo(f"{path.name}: {caveat}", err=True)
        refuse_beyond_peak(found, spec, path.name)
        for line in said_of_slow_memory(found, spec):
            click.echo(f"{path.name}: {line}", err=True)
        when = date or ("on an unknown date" if dash else _changed(path))
        for each in found:
            constants[each.path] = (
                each.text,
                f"windtunnel calibrate: {each.method}, measured {when}{_but(each.caveat)}",
            )
            found_by.append(
                {"tool": tool, "path": each.path, "value": each.text, "method": each.method, "caveat": each.caveat}
            )
    name = product or f"{base}_calibrated"
    text = calibrated_sheet(base, name, constants, catalog)
    file = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
    if as_json:
        document = {"product": name, "file": file, "constants": {path: value for path, (value, _) in constants.items()}}
        click.echo(dumps({**document, "fits": reports, "pasted": found_by}))
        return
    for fit in reports:
        _print([fit.before, fit.fitted, fit.left_out], fit.file)
    for path_name, (value, _) in constants.items():
        click.echo(f"{path_name} = {value}")
    click.echo(text if file is None else f"wrote {file}; use it with --catalog {out}", nl=file is not None)


def _say_other_device(path: Path, base: str, catalog: tuple[Path, ...]) -> None:
    """Says on stderr when the name of `path` is that of another device of the catalog than `base`."""
    from controller.devices.predict.products import find_product
    from controller.devices.validate.files import split_name, stem_of
    from controller.errors import UserError
    from node.errors import NodeError

    parts = split_name(stem_of(path.name))
    if parts is None:
        return
    try:
        named = find_product(parts[0], catalog).product
    except (UserError, NodeError):
        return  # a name of the user's own, which says nothing of the catalog
    if named != base:
        click.echo(f"{path.name} is named after {named}; its rows are fitted to the sheet of {base}", err=True)


def _but(caveat: str) -> str:
    return f"; {caveat}" if caveat else ""


def _changed(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def _print(parts: list[Slice], title: str) -> None:
    from controller.report.tables import percent, show, table

    rows = [
        (part.slice, part.rows, percent(part.median, sign=""), percent(part.p90, sign=""), percent(part.bias))
        for part in parts
    ]
    show(table(("rows of", "rows", "|error| median", "|error| p90", "bias"), rows, title))
