"""Options that change the fabric of a run: how flows are routed, and which links fail or become slower when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from controller.topology.fault import Fault

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def fabric_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--routing --faults --fail --degrade`` to a command."""
    options: tuple[Decorator, ...] = (
        click.option("--routing", help="Over equal paths: single, ecmp, spray or ethereal.  [default: the topology's]"),
        click.option(
            "--faults",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE.yaml",
            help="Let links fail or slow down in mid-run, as a file declares; `windtunnel help faults` shows one.",
        ),
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


def with_routing(overrides: tuple[str, ...], routing: str | None) -> tuple[str, ...]:
    """The overrides with the one that stands for ``--routing``."""
    return overrides if routing is None else (*overrides, f"options.routing={routing}")


def faults_asked(file: Path | None, fail: tuple[str, ...], degrade: tuple[str, ...]) -> tuple[Fault, ...]:
    """The faults of ``--faults``, ``--fail`` and ``--degrade``, in this order.

    Raises:
        BadTopology: a file or text that declares no fault.
    """
    from controller.faults.file import read_faults
    from controller.faults.schedule import parse_faults

    return (*(read_faults(file) if file is not None else ()), *parse_faults(fail, degrade))
