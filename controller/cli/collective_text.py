"""What ``windtunnel collective`` prints beside the table of nccl-tests: how each size was done, and why so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from controller.experiment.collective_run import SizeRow


def left_out(rows: Sequence[SizeRow]) -> list[str]:
    """What could not run, and why, each once for all sizes that give the same reason."""
    return list(dict.fromkeys(text for row in rows for text in row.choice.left_out))


def print_rows(rows: Sequence[SizeRow], sms: dict[str, int], explain: bool) -> None:
    """Prints the rows with the reason for each choice, its link changes and, if asked, what bounds its steps.

    Args:
        rows: one a size.
        sms: multiprocessors that the channels of each protocol keep; empty to say nothing of them.
        explain: whether to print the steps.
    """
    from controller.report.link_changes import change_text
    from controller.report.nccl_table import table_footer, table_row
    from controller.report.tables import quantity

    said = ""
    for row in rows:
        choice, best = row.choice, row.out_of_place
        how = f"{best.algorithm}/{best.protocol}, {best.call.pieces} piece{'s' * (best.call.pieces > 1)}"
        if how != said:
            said = how
            click.echo(f"# {how}: {choice.reason}")
        click.echo(table_row(row))
        for change in choice.link_changes:
            click.echo(f"#   {change_text(change)}")
        if sms.get(best.protocol):
            click.echo(f"#   its channels keep {sms[best.protocol]} multiprocessors of each rank from other kernels")
        for step in choice.steps if explain else ():
            click.echo(
                f"#   {step.label}: {step.count} of {quantity(step.mean_s, 's')} each, {step.bound} "
                f"(latency {quantity(step.latency_s, 's')}, alone {quantity(step.alone_s, 's')})"
            )
    click.echo(table_footer(rows))


def takes_short(details: bool) -> bool:
    """Whether somebody watches on a terminal too narrow for the table of nccl-tests; a file or pipe gets it whole."""
    from controller.report.nccl_table import WIDTH
    from controller.report.tables import console

    screen = console()
    return not details and screen.is_terminal and screen.width < WIDTH


def print_short(rows: Sequence[SizeRow]) -> None:
    """The table for a narrow terminal: out of place alone."""
    from controller.report.tables import quantity, show, table

    columns = ("size", "time", "algbw", "busbw", "#wrong", "algorithm/protocol")
    cells = [
        (
            quantity(entry.size_bytes, "bytes"), quantity(entry.time_s, "s"),
            quantity(entry.algbw_bytes_per_s, "bytes/s"), quantity(entry.busbw_bytes_per_s, "bytes/s"), entry.wrong,
            f"{entry.algorithm}/{entry.protocol}",
        )
        for entry in (row.out_of_place for row in rows)
    ]  # fmt: skip
    click.echo()
    show(table(columns, cells))
    click.echo("the table of nccl-tests, with the results in place and the reasons: --details")
