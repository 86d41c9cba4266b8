"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from node.errors import BadQuantity
from node.hardware.units import format_quantity, parse
from node.protocol import NODE_TIMEOUT_S

overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a declared value: csd.count=20, csd.flash.read='11.2 GB/s'. May be repeated.",
)
catalog_option = click.option(
    "--catalog",
    "catalog",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with device sheets of your own, looked in before the shipped ones. May be repeated.",
)


class QuantityParam(click.ParamType["float"]):
    """A number with a unit, as everywhere else (``4 s``, ``5 ms``), given on in the unit of the dimension."""

    def __init__(self, dimension: str) -> None:
        self.name = dimension

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The quantity; click calls this with the default too."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse(value, self.name)
        except BadQuantity as error:
            self.fail(str(error), param, ctx)


node_timeout_option = click.option(
    "--node-timeout",
    "node_timeout_s",
    type=QuantityParam("s"),
    default=format_quantity(NODE_TIMEOUT_S, "s"),
    show_default=True,
    metavar="DURATION",
    help="End a live run, with its name, when a node has been silent this long (--live).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")


def named_values(texts: tuple[str, ...], option: str = "--option") -> dict[str, str]:
    """``name=value`` texts as a mapping.

    Raises:
        BadParameter: a text without a name or an equals sign, or a name given twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint=option)
        if name.strip() in values:
            raise click.BadParameter(f"{name.strip()!r} is given twice", param_hint=option)
        values[name.strip()] = value.strip()
    return values
