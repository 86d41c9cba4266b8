"""``windtunnel fault``: the group of its subcommands."""

from __future__ import annotations

import click

from controller.cli.fault.analyse import analyse
from controller.cli.fault.campaign import campaign
from controller.cli.fault.month import month


@click.group()
def fault() -> None:
    """Declare faults, find and blame them, and see what work survives."""


for _command in (campaign, month, analyse):
    fault.add_command(_command)
