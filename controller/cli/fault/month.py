"""``windtunnel fault month``: what a job gets out of a month in which its hosts fail at published rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from controller.cli.options import QuantityParam, json_option

if TYPE_CHECKING:
    from controller.faults.month.summary import MonthSummary

DURATION = QuantityParam("s")


@click.command()
@click.option(
    "--rates", "rates_name", required=True, help="meta_llama3, rsc1, stepfun, c4_june, c4_december, greyhound."
)
@click.option("--gpus", type=int, required=True, help="GPUs of the job.")
@click.option("--checkpoint", "interval_s", type=DURATION, default="30 min", show_default=True, help="Interval.")
@click.option(
    "--checkpoints",
    "policy",
    default="blocking",
    show_default=True,
    help="blocking, asynchronous, remote, local or peer.",
)
@click.option("--write", "write_s", type=DURATION, help="What a checkpoint stalls.  [default: assumed by policy]")
@click.option(
    "--recovery",
    "recovery_name",
    default="restart",
    show_default=True,
    help="restart, isolate, spare, replica, shrink, microbatches or wait.",
)
@click.option("--spares", type=click.IntRange(min=0), help="Hosts that stand by.  [default: as many as are needed]")
@click.option("--detect", "detect_s", type=DURATION, help="Until a failure is noticed.  [default: of the rates]")
@click.option("--diagnose", "diagnose_s", type=DURATION, help="Until its cause is known.  [default: of the rates]")
@click.option("--reinit", "reinit_s", type=DURATION, help="Until the job runs again.  [default: of the rates]")
@click.option("--strikes-down", is_flag=True, help="Let failures strike during recovery, which begins anew then.")
@click.option("--days", type=click.FloatRange(min=1 / 24, max=366), default=30.0, show_default=True)
@click.option("--months", type=click.IntRange(min=1), help="How many to simulate.  [default: for half a percent]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
def month(
    rates_name: str,
    gpus: int,
    interval_s: float,
    policy: str,
    write_s: float | None,
    recovery_name: str,
    spares: int | None,
    detect_s: float | None,
    diagnose_s: float | None,
    reinit_s: float | None,
    strikes_down: bool,
    days: float,
    months: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate months of a job whose hosts fail at published rates: ETTR, goodput and where the time went.

    The ledger is that of all simulated months; its rows sum to the wall time exactly.
    """
    from controller.faults.month.checkpoints import checkpoints_called
    from controller.faults.month.recovery import recovery_called
    from controller.faults.month.simulate import MonthJob
    from controller.faults.month.summary import summarise
    from controller.faults.rates.published import rates_called
    from controller.report.json_output import dumps
    from controller.report.month import month_json, month_text

    rates = rates_called(rates_name)
    job = MonthJob(
        rates,
        gpus,
        days * 86400.0,
        checkpoints_called(policy, interval_s, write_s),
        recovery_called(recovery_name),
        spares,
        rates.detect_s if detect_s is None else detect_s,
        rates.diagnose_s if diagnose_s is None else diagnose_s,
        rates.reinit_s if reinit_s is None else reinit_s,
        strikes_down,
    )
    found: MonthSummary = summarise(job, seed, months)
    click.echo(dumps(month_json(found)) if as_json else month_text(found))
