"""Options that several commands share, so that they mean the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

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
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")


def workload_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--topology --model --batch --prompt-tokens --output-tokens --option --seed`` to a command."""
    options: tuple[Decorator, ...] = (
        click.option("--topology", help="A shipped name or a path ending in .yaml; each strategy has its own default."),
        click.option("--model", default="opt-13b", show_default=True, help="A name or a Hugging Face config.json."),
        click.option("--batch", type=int, default=1, show_default=True, help="Sequences decoded together."),
        click.option("--prompt-tokens", type=int, help="Length of each prompt.  [default: 32]"),
        click.option("--output-tokens", type=int, default=32, show_default=True, help="Tokens generated per prompt."),
        click.option(
            "--option", "strategy_options", multiple=True, metavar="NAME=VALUE", help="An option of the strategy."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn."),
    )
    for option in reversed(options):
        function = option(function)
    return function


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
