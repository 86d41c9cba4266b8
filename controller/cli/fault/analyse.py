"""``windtunnel fault analyse``: which ranks hold up a job, from the dumps that it left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import json_option

if TYPE_CHECKING:
    from controller.diagnosis.wavefront import Wavefront
    from controller.diagnosis.what_if import WhatIf


@click.command()
@click.argument("where", metavar="DIR_OR_TRACE", type=click.Path(exists=True, path_type=Path))
@click.option("-p", "--prefix", help="What the names of dumps begin with, where a folder holds several sets.")
@json_option
def analyse(where: Path, prefix: str | None, as_json: bool) -> None:
    """Name the guilty from what a job recorded, ours or a real one.

    A folder holds the Flight Recorder dumps of PyTorch, one file a rank: the ranks that hold up the others are named. A
    Parquet file holds traced training steps: how much faster they would be without stragglers, and which workers or
    stage that is due to.
    """
    if where.is_dir():
        _analyse_dumps(where, prefix, as_json)
    else:
        _analyse_trace(where, as_json)


def _analyse_dumps(folder: Path, prefix: str | None, as_json: bool) -> None:
    from controller.diagnosis.formats.flight_recorder import read_dumps
    from controller.diagnosis.wavefront import wavefront
    from controller.report.json_output import dumps as json_text

    read = read_dumps(folder, prefix)
    found = wavefront(read)
    if as_json:
        click.echo(
            json_text(
                {
                    "dumps": len(read),
                    "ranks": found.ranks,
                    "guilty": found.guilty,
                    "standing": [
                        {"communicator": str(group), "ranks": group.ranks, "operation": what}
                        for group, what in found.standing
                    ],
                    "without_dump": found.without_dump,
                }
            )
        )
    else:
        _print_wavefront(found, len(read))


def _print_wavefront(found: Wavefront, count: int) -> None:
    from controller.report.tables import say, show, table

    missing = f"; ranks {_listed(found.without_dump)} left none" if found.without_dump else ""
    say(f"{count} dumps{missing}")
    if found.guilty:
        rows = [(each.rank, each.kind, each.evidence, len(each.victims)) for each in found.guilty]
        show(table(("rank", "kind", "evidence", "victims"), rows, "ranks that hold up the others"))
    elif found.standing:
        say("Every rank has entered what it waits in, so no rank can be blamed: suspect what joins the members of")
        still = [(group, _listed(group.ranks), what) for group, what in found.standing]
        show(table(("communicator", "ranks", "operation"), still, "communicators that stand still"))
    else:
        say("Nobody waits: all recorded operations have completed. A slow rank leaves no trace in such dumps.")


def _listed(ranks: tuple[int, ...]) -> str:
    return ", ".join(map(str, ranks))


def _analyse_trace(path: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from controller.diagnosis.formats.what_if_parquet import read_step_trace
    from controller.diagnosis.what_if import what_if
    from controller.report.json_output import dumps as json_text

    found = what_if(read_step_trace(path))
    if as_json:
        click.echo(json_text({**asdict(found), "slowdown_ratio": found.slowdown_ratio}))
    else:
        _print_what_if(found)


def _print_what_if(found: WhatIf) -> None:
    from controller.report.tables import quantity, show, table

    workers = ", ".join(f"data rank {dp_rank} stage {stage}" for dp_rank, stage in found.worst_workers)
    rows = [
        ("step as traced", quantity(found.time_s, "s"), "replayed without the gaps between operations"),
        ("ideal step", quantity(found.ideal_s, "s"), "every operation takes what its peers take"),
        ("slowdown S", f"{found.slowdown_ratio:.4g}", "the one over the other"),
        ("slowest workers", f"{found.workers_ratio:.2f}", f"of the gain comes from repairing {workers}"),
        ("last stage", f"{found.last_stage_ratio:.2f}", "of the gain comes from repairing it"),
    ]
    show(table(("what", "value", "meaning"), rows, "what stragglers cost"))
