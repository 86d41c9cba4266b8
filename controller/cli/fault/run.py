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
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write the report of the run with the faults (workload `run`).",
)
@json_option
def run(file: Path, live: bool, report: Path | None, as_json: bool) -> None:
    """Run the workload of FILE with its faults and without, and print what they did to it.

    FILE is YAML: topology, workload (the words of run or collective), faults or rates, seed; `windtunnel help
    controller.faults.run_file` shows one. A run that a fault ends is a result: its outcome is printed and the exit
    code is 0.
    """
    from controller.cli.engine import load_engine
    from controller.errors import BadTopology
    from controller.experiment.fault_run import run_with_faults
    from controller.experiment.run_spec import RunSpec
    from controller.faults.run_file import read_fault_run
    from controller.report.fault_run import fault_run_json, fault_run_text
    from controller.report.json_output import dumps

    asked = read_fault_run(file)
    spec = _spec(asked)
    if report is not None and not isinstance(spec, RunSpec):
        raise BadTopology("--report draws workloads of `run`: remove it, or write 'workload: run ...'")
    load_engine()
    found = run_with_faults(spec, asked.faults, live=live, report=report, recovery=asked.recovery)
    if report is not None and found.experiment is not None:
        from controller.report.html import write_run_report

        write_run_report(found.experiment, report)
    elif report is not None:
        click.echo(f"no report: the run with the faults ended as {found.struck.ended}", err=True)
    click.echo(dumps(fault_run_json(found)) if as_json else fault_run_text(found))


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
