"""``windtunnel torch``: a PyTorch program on a declared cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.options import catalog_option, json_option, named_values, overrides_option

if TYPE_CHECKING:
    from controller.capture.request import CaptureRequest


@click.group()
def torch() -> None:
    """Time an unmodified PyTorch program on a declared cluster."""


@torch.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--topology", default="dgx_h100", show_default=True, help="A shipped name or a path ending in .yaml.")
@click.option("--ranks", type=int, help="Number of its devices that take part, from the first.  [default: all]")
@click.option(
    "--steps", type=int, default=3, show_default=True, help="Training steps to capture; the last is measured."
)
@click.option(
    "--oracle",
    "oracle",
    multiple=True,
    metavar="KIND=VALUE",
    help="What the program is told where it asks for a value that only data could say: float, int or bool; "
    "or tokens of experts, experts=balanced or their shares, experts=4,2,1,1. May be repeated.",
)
@click.option("--check/--no-check", default=True, show_default=True, help="Capture the last rank too, and compare.")
@click.option(
    "--live/--virtual",
    "live",
    default=False,
    help="Run every rank with real values on the CPU, its collectives through node processes.",
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write everything as JSON into a file as well."
)
@click.option(
    "--timeline",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the measured step as PyTorch's profiler does (Kineto JSON).",
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.yaml",
    help="Let parts fail or slow down while the steps go on; `windtunnel help faults` shows a file.",
)
@overrides_option
@catalog_option
@json_option
@click.argument("program", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    topology: str,
    ranks: int | None,
    steps: int,
    oracle: tuple[str, ...],
    check: bool,
    live: bool,
    report: Path | None,
    timeline: Path | None,
    faults: Path | None,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
    as_json: bool,
    program: Path,
    arguments: tuple[str, ...],
) -> None:
    """Run PROGRAM with ARGS as torchrun would, on the declared devices: no GPU, fake tensors, virtual time.

    The program is not changed: device "cuda", streams, events and process groups answer from the topology. One rank
    stands for all that do the same.
    """
    from controller.capture.request import CaptureRequest
    from controller.capture.run import run_captured
    from controller.faults.file import read_faults
    from controller.faults.timeline import with_faults
    from controller.report.captured_lines import show_captured
    from controller.report.json_output import dumps
    from controller.report.kineto import kineto_text
    from controller.report.progress import progress
    from controller.topology.loader import load_topology

    declared = load_topology(topology, overrides, catalog)
    if faults is not None:
        declared = with_faults(declared, read_faults(faults))
    request = CaptureRequest(program, arguments, declared, ranks, steps, named_values(oracle, "--oracle"))
    if live:
        _run_live(request, as_json)
        return
    with progress() as tell:
        result, played = run_captured(request, check=check, progress=tell)
    whole = {"program": str(program), "arguments": list(arguments), "topology": declared.name, **result.as_json()}
    if timeline is not None:
        timeline.write_text(kineto_text(played, result.equal, result.ranks), encoding="utf-8")
    if report is not None:
        report.write_text(dumps(whole) + "\n", encoding="utf-8")
    if as_json:
        click.echo(dumps(whole))
        return
    show_captured(result)


def _run_live(request: CaptureRequest, as_json: bool) -> None:
    from controller.capture.live.run import run_live_ranks
    from controller.report.json_output import dumps
    from controller.report.progress import progress

    with progress() as tell:
        outcome = run_live_ranks(request, progress=tell)
    if as_json:
        click.echo(dumps({"ranks": len(outcome.output), "wall_s": outcome.wall_s, "output": list(outcome.output)}))
        return
    for text in outcome.output:
        click.echo(text, nl=False)
    click.echo(f"{len(outcome.output)} ranks ended well in {outcome.wall_s:.1f} s of wall time")
