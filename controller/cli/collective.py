"""``windtunnel collective``: the table of nccl-tests for any collective on any topology."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.collective_limits import check_flows, flows_warning, live_warning
from controller.cli.collective_text import left_out, print_rows, print_short, takes_short
from controller.cli.fabric_options import fabric_options, faults_asked, with_routing
from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option

if TYPE_CHECKING:
    from controller.experiment.collective_spec import CollectiveSpec


@click.command()
@click.argument("name", metavar="COLLECTIVE")
@click.option("--topology", default="dgx_h100", show_default=True, help="A shipped name or a path ending in .yaml.")
@click.option(
    "--ranks", type=int, help="Number of GPUs (else NPUs, else CPUs) that take part, from the first.  [default: all]"
)
@click.option("--devices", help="The ranks by name instead, in order: gpu0,gpu2,gpu1.")
@click.option(
    "--algorithm",
    default="auto",
    show_default=True,
    help="Names or MSCCL .xml files, of which the fastest; auto: all; nccl: its own choice. Between hosts ring is one "
    "ring over one NIC of each; rings is one for every rank of a host, over every NIC, as NCCL lays them.",
)
@click.option("--protocol", default="auto", show_default=True, help="A protocol of the topology, plain, or auto.")
@click.option("--pieces", type=int, help="Independent parts of each chunk.  [default: the fastest]")
@click.option("-b", "--minbytes", default="8", show_default=True, help="Smallest size; K, M and G are binary.")
@click.option("-e", "--maxbytes", default="128M", show_default=True, help="Largest size.")
@click.option("-f", "--stepfactor", type=int, default=2, show_default=True, help="Factor from size to size.")
@click.option("-i", "--stepbytes", help="Increment from size to size instead of a factor.")
@click.option("-d", "--dtype", default="fp32", show_default=True, help="fp32, bf16, fp16, int32, int8 or NCCL's name.")
@click.option("-r", "--root", type=int, default=0, show_default=True, help="Rank of the root, or of a star's master.")
@click.option("--details", is_flag=True, help="Print the table of nccl-tests whole, however narrow the terminal.")
@click.option("--explain", is_flag=True, help="Say below each size what bounds each kind of step.")
@click.option("--live/--virtual", "live", default=False, help="Move real data through node processes and count #wrong.")
@click.option("--pace", type=float, help="With --live: hold every part to its speed, this many times slower.")
@node_timeout_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of the data that is moved.")
@click.option(
    "--bulk/--no-bulk",
    default=None,
    help="Time arrays instead of plans.  [default: above 128 ranks, or above 32 where all named algorithms can]",
)
@fabric_options
@overrides_option
@catalog_option
@json_option
def collective(
    name: str, details: bool, explain: bool, live: bool, pace: float | None, as_json: bool, **asked: Any
) -> None:
    """Time COLLECTIVE (all_reduce, all_gather, ...) for every size, and with --live prove its result."""
    from controller.experiment.collective_path import bound_of_largest
    from controller.experiment.collective_run import prepare_collective, run_collective
    from controller.report.collective_lines import collective_lines
    from controller.report.json_output import dumps
    from controller.report.nccl_table import table_header, table_json, wrong_total
    from controller.report.progress import progress
    from controller.report.tables import quantity

    spec = collective_spec(name=name, explain=explain, live=live, pace=pace, **asked)
    prepared = prepare_collective(spec)
    declared, group = prepared.topology, prepared.group
    check_flows(name, prepared.names, group.world_size, prepared.chooser is not None)
    if warning := flows_warning(name, prepared.sizes, group.world_size, prepared.chooser is not None):
        click.echo(warning, err=True)
    if live and (warning := live_warning(name, prepared.sizes, group.world_size)):
        click.echo(warning, err=True)
    with progress() as tell:
        table = run_collective(prepared, progress=tell)
    rows, proven = table.rows, table.proven
    words = (
        f"windtunnel collective {name}: {group.world_size} ranks of {declared.name}, {'live' if live else 'virtual'}"
    )
    if as_json:
        click.echo(dumps(table_json(table, sys.argv)))
    else:
        calls = [row.out_of_place for row in rows]
        said = collective_lines(declared, calls, bound_of_largest(table), wrong_total(rows), live)
        click.echo(said.text("# "))
        is_short = takes_short(details or explain)
        if not is_short:
            click.echo("#")
            click.echo(table_header(declared, group, words))
        for text in prepared.faults_elsewhere:
            click.echo(f"# {text}: the link leads to a device outside of the group, and changes nothing")
        for text in left_out(rows) if explain or spec.algorithm != "auto" else ():
            click.echo(f"# left out: {text}")
        if is_short:
            print_short(rows)
        else:
            print_rows(rows, {each.name: each.sms for each in prepared.protocols} if explain else {}, explain)
        if proven is not None and proven.paced_s is not None:
            click.echo(
                f"# paced: held to the declared speeds, all calls of the table together took "
                f"{quantity(proven.paced_s, 's')} of device time (wall time / {pace:g}); the virtual clock says "
                f"{quantity(proven.time_s, 's')} for the same links and launches, without the protocol's own costs"
            )
            click.echo(
                f"# overruns: {proven.overruns}"
                + (
                    " ops ended later than this machine should have; a larger --pace has fewer"
                    if proven.overruns
                    else ", so this machine kept up with every op"
                )
            )
    if wrong_total(rows):
        raise click.exceptions.Exit(1)


def collective_spec(
    name: str,
    topology: str,
    ranks: int | None,
    devices: str | None,
    algorithm: str,
    protocol: str,
    pieces: int | None,
    minbytes: str,
    maxbytes: str,
    stepfactor: int,
    stepbytes: str | None,
    dtype: str,
    root: int,
    explain: bool,
    live: bool,
    pace: float | None,
    node_timeout_s: float,
    seed: int,
    bulk: bool | None,
    routing: str | None,
    fail: tuple[str, ...],
    degrade: tuple[str, ...],
    faults: Path | None,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
) -> CollectiveSpec:
    """The request that the words of the command make."""
    from controller.collectives.measure.sizes import parse_size
    from controller.experiment.collective_spec import CollectiveSpec
    from controller.report.nccl_table import TYPE_NAMES

    return CollectiveSpec(
        name, topology, ranks, None if devices is None else tuple(devices.split(",")), algorithm, protocol, pieces,
        parse_size(minbytes), parse_size(maxbytes), stepfactor, None if stepbytes is None else parse_size(stepbytes),
        {theirs: ours for ours, theirs in TYPE_NAMES.items()}.get(dtype, dtype), root, explain, live, pace,
        node_timeout_s, seed, bulk, with_routing(overrides, routing), catalog, faults_asked(faults, fail, degrade),
    )  # fmt: skip
