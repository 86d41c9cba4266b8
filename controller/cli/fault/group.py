"""``windtunnel fault``: the group of its subcommands."""

from __future__ import annotations

import click

from controller.cli.fault.analyse import analyse


@click.group()
def fault() -> None:
    """Declare faults, find and blame them, and see what work survives."""


fault.add_command(analyse)
