"""``windtunnel torch``: a PyTorch program on a declared cluster."""

from __future__ import annotations

from pathlib import Path

import click

from controller.cli.options import catalog_option, json_option, named_values, overrides_option


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
    help="What the program is told where it asks for a value that only data could say: float, int or bool. "
    "May be repeated.",
)
@click.option("--check/--no-check", default=True, show_default=True, help="Capture the last rank too, and compare.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write everything as JSON into a file as well."
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
    report: Path | None,
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
    from controller.report.captured_lines import show_captured
    from controller.report.json_output import dumps
    from controller.report.progress import progress
    from controller.topology.loader import load_topology

    declared = load_topology(topology, overrides, catalog)
    request = CaptureRequest(program, arguments, declared, ranks, steps, named_values(oracle, "--oracle"))
    with progress() as tell:
        result, _ = run_captured(request, check=check, progress=tell)
    whole = {"program": str(program), "arguments": list(arguments), "topology": declared.name, **result.as_json()}
    if report is not None:
        report.write_text(dumps(whole) + "\n", encoding="utf-8")
    if as_json:
        click.echo(dumps(whole))
        return
    show_captured(result)
