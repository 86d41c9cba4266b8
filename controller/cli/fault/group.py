"""``windtunnel fault``: the group of its subcommands."""

from __future__ import annotations

import click

from controller.cli.fault.analyse import analyse
from controller.cli.fault.campaign import campaign
from controller.cli.fault.month import month
from controller.cli.fault.run import run


@click.group()
def fault() -> None:
    """Declare faults, find and blame them, and see what work survives."""


for _command in (run, campaign, month, analyse):
    fault.add_command(_command)
