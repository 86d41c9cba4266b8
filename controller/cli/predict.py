"""``windtunnel predict``: how long one op takes alone on a device, for one shape or a file of them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import catalog_option, json_option

if TYPE_CHECKING:
    from controller.devices.predict.question import Question

WRONG_INPUT = 2


class Questions(click.Group):
    """One command for each question; its options are the sizes of the question."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        from controller.devices.predict.ask import QUESTIONS

        return list(QUESTIONS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of the question `cmd_name`."""
        from controller.devices.predict.ask import question

        return _command(question(cmd_name.replace("-", "_")))


@click.group(cls=Questions)
def predict() -> None:
    """Predict how long an op takes alone on a device, what bounds it, and its parts."""


def _command(asked: Question) -> click.Command:
    names = [column.name for column in asked.columns]

    @catalog_option
    @json_option
    @click.option("--device", required=True, metavar="D", help="A product of the catalog, or an alias (a100_sxm).")
    @click.option("--dtype", default=asked.dtype, show_default=True, help="Element type.")
    @click.option("--csv", "shapes", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="As SHAPES.")
    @click.argument("table", metavar="[SHAPES.csv]", required=False, type=click.Path(path_type=Path))
    def command(
        table: Path | None, shapes: Path | None, dtype: str, device: str, as_json: bool, catalog: tuple[Path, ...],
        **sizes: Any,
    ) -> int:  # fmt: skip
        from controller.devices.predict.answer import answer_one
        from controller.devices.predict.products import find_product
        from controller.report.json_output import dumps

        spec = find_product(device, catalog)
        if table and shapes:
            raise click.UsageError("give the shapes once: as an argument or with --csv")
        path = table or shapes
        if path is not None:
            given = [name for name in names if sizes[name] is not None]
            if given:
                raise click.UsageError(f"--{given[0].replace('_', '-')} and a file of shapes cannot both be given")
            return _answer_file(asked, path, spec, dtype, as_json)
        answer = answer_one(asked, spec, dtype, sizes)
        if as_json:
            click.echo(dumps(answer))
        else:
            _print(answer)
        return 0

    for column in reversed(asked.columns):
        flags = [f"-{column.name}" if len(column.name) == 1 else f"--{column.name.replace('_', '-')}", column.name]
        flags += [f"--{name}" for name in column.short]
        kind: Any = click.Choice(column.choices) if column.choices else str if column.word else int
        default = "" if column.default is None else f"  [default: {column.default}]"
        wrap: Callable[[Any], Any] = click.option(*flags, type=kind, help=f"{column.meaning.capitalize()}.{default}")
        command = wrap(command)
    return click.command(name=asked.name, help=asked.summary)(command)


def _answer_file(asked: Question, path: Path, spec: Any, dtype: str, as_json: bool) -> int:
    from controller.devices.predict.answer import MODEL_COLUMN, answer_file
    from controller.report.json_output import dumps

    header, rows, refusals = answer_file(asked, path, spec, dtype)
    if as_json:
        click.echo(dumps([dict(zip(header, map(_plain, row), strict=True)) for row in rows]))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    for refusal in refusals:
        click.echo(f"no {MODEL_COLUMN}: {refusal}", err=True)
    if refusals:
        answered = sum(bool(row[header.index(MODEL_COLUMN)]) for row in rows)
        click.echo(f"{len(refusals)} of {len(refusals) + answered} rows have no {MODEL_COLUMN}", err=True)
    return WRONG_INPUT if refusals else 0


def _plain(text: str) -> int | float | str | None:
    """A cell as JSON has it: a number where it is one, null where there is nothing."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if isfinite(number) else text
    return text or None


def _print(answer: dict[str, Any]) -> None:
    from controller.report.tables import quantity, show, table

    sizes = " ".join(f"{name}={value}" for name, value in answer["sizes"].items())
    dtype = f" {answer['dtype']}" if answer["dtype"] else ""
    click.echo(f"{answer['question']}{dtype} {sizes} on {answer['device']}")
    click.echo(f"{quantity(answer['time_s'], 's')}, set by {answer['bound']}")
    if answer["peak_ratio"] is not None:
        rate, peak = answer["flop_per_s"] / 1e12, answer["peak_flop_per_s"] / 1e12
        click.echo(f"{rate:.4g} TFLOP/s, {answer['peak_ratio']:.1%} of the peak of {peak:.4g} TFLOP/s")
    rows = [(name, quantity(seconds, "s")) for name, seconds in answer["parts_s"].items()]
    show(table(("part", "time alone"), rows))
    assumed = answer["assumed"]
    if assumed:
        click.echo(f"assumed constants of {answer['device']}: {', '.join(assumed)}")
