"""``windtunnel fault run FILE``: a workload with faults beside its twin without them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import json_option

if TYPE_CHECKING:
    from controller.experiment.fault_run import AnySpec
    from controller.faults.run_file import FaultRun


@click.command()
@click.argument("file", metavar="FILE.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--live", is_flag=True, help="Strike real node processes: killed, stopped or slowed by signals.")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="Who watches, in place of the file's detectors; as of `fault campaign`.  [default: default]",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write truth and verdicts, delay matrix, who waits for whom and the ledger, and the run itself.",
)
@json_option
def run(file: Path, live: bool, detectors: tuple[str, ...], report: Path | None, as_json: bool) -> None:
    """Run the workload of FILE with its faults and without, and print what they did to it and who noticed.

    FILE is YAML: topology, workload (the words of run or collective), faults or rates, detectors, seed; `windtunnel
    help controller.faults.run_file` shows one. A run that a fault ends is a result: its outcome is printed and the exit
    code is 0. Detectors watch the telemetry of the run on the virtual clock, where a call of a collective is made over
    and over; nodes of --live are watched by their signs of life, and the one that breaks is named.
    """
    from controller.cli.engine import load_engine
    from controller.diagnosis.detectors.table import chosen
    from controller.diagnosis.run_watch import watch
    from controller.errors import BadTopology
    from controller.experiment.fault_run import run_with_faults
    from controller.faults.run_file import read_fault_run
    from controller.report.fault_run import fault_run_json, fault_run_text
    from controller.report.fault_run_page import write_fault_run_report
    from controller.report.files import check_folders
    from controller.report.json_output import dumps

    check_folders({"--report": report})
    asked = read_fault_run(file)
    names = detectors or asked.detectors or ("default",)
    chosen(names)
    if asked.recovery is not None and (detectors or asked.detectors or report is not None):
        raise BadTopology(
            "detectors and --report are for runs that end; training that goes on names its nodes itself: remove them"
        )
    spec = _spec(asked)
    load_engine()
    found = run_with_faults(
        spec, asked.faults, live=live, report=report, recovery=asked.recovery, logs=asked.recovery is None
    )
    watched = None if found.log is None else watch(found.topology, found.faults, found.log, names, found.healthy_call)
    if report is not None:
        write_fault_run_report(found, watched, report)
    click.echo(dumps(fault_run_json(found, watched)) if as_json else fault_run_text(found, watched))


def _spec(asked: FaultRun) -> AnySpec:
    """The request that the workload's words make; its seed is that of the file unless they say one."""
    from controller.cli.collective import collective, collective_spec
    from controller.cli.run import run as run_command
    from controller.cli.run import run_spec

    which, *words = asked.words
    words += ["--topology", asked.topology]
    if "--seed" not in words:
        words += ["--seed", str(asked.seed)]
    command = run_command if which == "run" else collective
    with command.make_context(f"workload: {which}", words) as context:
        params: dict[str, Any] = {
            key: value for key, value in context.params.items() if key not in ("as_json", "details")
        }
    return run_spec(**params) if which == "run" else collective_spec(**params)
