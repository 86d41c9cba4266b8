"""``windtunnel fault campaign``: many seeded faults, and how detectors do on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import QuantityParam, catalog_option, json_option, overrides_option

if TYPE_CHECKING:
    from controller.diagnosis.campaign import CampaignResult, CampaignSpec


@click.command()
@click.option("--topology", default="h100_leaf_spine", show_default=True, help="A shipped name or a path to a .yaml.")
@click.option("--ranks", type=int, default=16, show_default=True, help="Devices that take part, from the first.")
@click.option("--workload", default="ring", show_default=True, help="ring, tree, all_to_all, or like tp8.pp4.dp8.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of all that is drawn.")
@click.option("--faults", type=int, default=100, show_default=True, help="Entries, each run with its twin.")
@click.option(
    "--rates",
    help="Draw causes, bursts and lemons: meta_llama3, rsc1, stepfun, c4_june, c4_december, greyhound.  [default: all "
    "kinds alike]",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="default, c4d, c4d_median, greyhound, watchdog, phi_accrual, wavefront, what_if, or all. May be repeated.",
)
@click.option("--loss", "loss_ratio", type=click.FloatRange(0, 0.99), default=0.0, help="Share of records lost.")
@click.option(
    "--clock-offset", "offset_s", type=QuantityParam("s"), default="0 s", help="How far clocks of ranks are off."
)
@click.option(
    "--healthy",
    "healthy_s",
    type=QuantityParam("s"),
    default="10 h",
    show_default=True,
    help="How long detectors watch a job without faults, for false alarms.",
)
@click.option("--processes", type=click.IntRange(1), help="Entries at once.  [default: the cores of this machine]")
@click.option(
    "--dumps",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write what the job of the first entry that stands still leaves: Flight Recorder dumps and other formats.",
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page of one entry.")
@click.option("--entry", type=click.IntRange(0), default=0, show_default=True, help="Which one the report shows.")
@overrides_option
@catalog_option
@json_option
def campaign(
    topology: str,
    ranks: int,
    workload: str,
    seed: int,
    faults: int,
    rates: str | None,
    detectors: tuple[str, ...],
    loss_ratio: float,
    offset_s: float,
    healthy_s: float,
    processes: int | None,
    dumps: Path | None,
    report: Path | None,
    entry: int,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Inject many seeded faults and score every verdict.

    Each entry runs twice with the same random numbers, with and without its faults. What leaves no trace in the
    telemetry is counted as unobservable, beside recall.
    """
    from controller.cli.engine import load_engine
    from controller.diagnosis.campaign import CampaignSpec
    from controller.diagnosis.parallel import run_on_cores
    from controller.report.files import check_folders
    from controller.report.json_output import dumps as json_text
    from controller.report.progress import progress
    from controller.topology.loader import load_topology

    check_folders({"--report": report})
    if report is not None and entry >= faults:
        raise click.UsageError(f"--entry is {entry}, and there are {faults} from 0 on; write a smaller one")
    declared = load_topology(topology, overrides, catalog)
    spec = CampaignSpec(
        declared, ranks, workload, seed, faults, rates, detectors or ("default",), loss_ratio, offset_s,
        healthy_s / 3600.0,
    )  # fmt: skip
    load_engine()
    with progress() as tell:
        result = run_on_cores(spec, processes, tell)
    if dumps is not None:
        _write(spec, dumps)
    if report is not None:
        from controller.diagnosis.campaign import Campaign
        from controller.report.fault_page import entry_report, write_fault_report

        made = Campaign(spec)
        write_fault_report(entry_report(made, made.entries[entry]), report)
    if as_json:
        click.echo(json_text(result.rows))
    else:
        _print(spec, result)


def _print(spec: CampaignSpec, result: CampaignResult) -> None:
    from controller.report.tables import percent, quantity, say, show, table

    def share(ratio: float | None) -> str:
        return percent(ratio, sign="")

    columns = ("fault", "times", "n", "unseen", "recall", "precision", "right", "victims", "found after", "p95")
    for name in dict.fromkeys(row.detector for row in result.rows):
        rows = [row for row in result.rows if row.detector == name]
        cells = [
            (
                row.fault, f"{row.severity:g}", row.n, row.unobservable, share(row.recall), share(row.precision),
                share(row.right_component), row.victims, quantity(row.time_to_detect_s, "s", 3),
                quantity(row.p95_s, "s", 3),
            )
            for row in rows
        ]  # fmt: skip
        show(table(columns, cells, f"detector {name}"))
        alarms = rows[0].false_alarms_per_hour
        if alarms is not None:
            say(
                f"{alarms:.3g} false alarms an hour, with 95 % between {rows[0].false_alarms_low:.3g} and "
                f"{rows[0].false_alarms_high:.3g} (over {quantity(spec.healthy_hours * 3600.0, 's', 3)} without faults)"
            )
        taken = sum(row.healthy_machines for row in rows)
        say(f"{taken} healthy components would have been taken out")
    mean, worst = result.replay_error
    say(
        f"{result.unobservable} of {spec.faults} entries left no trace. Collectives were executed {result.executions} "
        f"times; 20 replayed steps differ from their execution by {percent(mean, 3, sign='')} on average and "
        f"{percent(worst, 3, sign='')} at most."
    )


def _write(spec: CampaignSpec, folder: Path) -> None:
    from controller.diagnosis.campaign import Campaign
    from controller.diagnosis.detectors.table import STALLS
    from controller.diagnosis.recording import record_entry

    campaign = Campaign(spec)
    entry = next((each for each in campaign.entries if each.kind in STALLS), None)
    if entry is None:
        raise click.UsageError(f"none of the {spec.faults} entries stands still: write a larger --faults for --dumps")
    written = record_entry(campaign, entry, folder)
    faults = ", ".join(f"{fault.kind} of {fault.target}" for fault in entry.faults)
    click.echo(f"{len(written)} dumps of entry {entry.number} ({faults}) in {folder}", err=True)
