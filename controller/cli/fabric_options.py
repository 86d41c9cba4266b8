"""Options that change the fabric of a run: how flows are routed, and which links fail or become slower when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def fabric_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--routing --fail --degrade`` to a command; see `with_fabric`."""
    options: tuple[Decorator, ...] = (
        click.option("--routing", help="Over equal paths: single, ecmp, spray or ethereal.  [default: the topology's]"),
        click.option(
            "--fail",
            multiple=True,
            metavar="LINK@TIME[:UNTIL]",
            help="Let a link fail in mid-run: up0-1@'2 ms' or up0-1@'2 ms:5 ms'. May be repeated.",
        ),
        click.option(
            "--degrade",
            multiple=True,
            metavar="LINK=SHARE@TIME[:UNTIL]",
            help="Let a link keep a share of its capacity: up0-1=0.5@'2 ms'. May be repeated.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def with_fabric(
    overrides: tuple[str, ...], routing: str | None, fail: tuple[str, ...], degrade: tuple[str, ...]
) -> tuple[str, ...]:
    """The overrides with those that stand for ``--routing``, ``--fail`` and ``--degrade``.

    Raises:
        BadTopology: a fault that cannot be meant.
    """
    from controller.faults.schedule import joined

    faults = joined(fail, degrade)
    added = () if routing is None else (f"options.routing={routing}",)
    return (*overrides, *added, *((f"options.faults={faults}",) if faults else ()))
