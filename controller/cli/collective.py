"""``windtunnel collective``: the table of nccl-tests for any collective on any topology."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli.collective_calls import bulk_chooser, prove, row_in_bulk, row_of_plans
from controller.cli.collective_limits import check_flows, flows_warning, live_warning
from controller.cli.collective_text import left_out, print_rows
from controller.cli.fabric_options import fabric_options, faults_asked, with_routing
from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option

if TYPE_CHECKING:
    from controller.collectives.choose.algorithm import AlgorithmChoice
    from controller.execute.outcome import Outcome
    from controller.report.nccl_table import Row


@click.command()
@click.argument("name", metavar="COLLECTIVE")
@click.option("--topology", default="dgx_h100", show_default=True, help="A shipped name or a path ending in .yaml.")
@click.option("--ranks", type=int, help="The first so many GPUs (else NPUs, else CPUs).  [default: all]")
@click.option("--devices", help="The ranks by name instead, in order: gpu0,gpu2,gpu1.")
@click.option(
    "--algorithm",
    default="auto",
    show_default=True,
    help="Names or MSCCL .xml files, of which the fastest; auto: all; nccl: its own choice.",
)
@click.option("--protocol", default="auto", show_default=True, help="A protocol of the topology, plain, or auto.")
@click.option("--pieces", type=int, help="Independent parts of each chunk.  [default: the fastest]")
@click.option("-b", "--minbytes", default="8", show_default=True, help="Smallest size; K, M and G are binary.")
@click.option("-e", "--maxbytes", default="128M", show_default=True, help="Largest size.")
@click.option("-f", "--stepfactor", type=int, default=2, show_default=True, help="Factor from size to size.")
@click.option("-i", "--stepbytes", help="Increment from size to size instead of a factor.")
@click.option("-d", "--dtype", default="fp32", show_default=True, help="fp32, bf16, fp16, int32, int8 or NCCL's name.")
@click.option("-r", "--root", type=int, default=0, show_default=True, help="Rank of the root, or of a star's master.")
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
    as_json: bool,
) -> None:
    """Time COLLECTIVE (all_reduce, all_gather, ...) for every size, and with --live prove its result."""
    from controller.collectives.call import Call
    from controller.collectives.errors import BadCall
    from controller.collectives.group import first_ranks, group_of, only
    from controller.collectives.measure.sizes import parse_size, sizes_between
    from controller.collectives.protocol import protocol_of, protocols_of
    from controller.collectives.table import algorithm as lookup
    from controller.collectives.table import algorithms
    from controller.fabric.routing.table import policy_of
    from controller.faults.schedule import with_faults
    from controller.report.json_output import dumps
    from controller.report.nccl_table import TYPE_NAMES, table_header, table_json, wrong_total
    from controller.report.progress import progress
    from controller.report.tables import quantity
    from controller.topology.loader import load_topology
    from node.hardware.operation import ITEM_BYTES

    if seed < 0:
        raise BadCall(f"a seed of {seed}; write 0 or more")
    known = algorithms(name)
    names = known if algorithm == "auto" else tuple(dict.fromkeys(algorithm.split(",")))
    for each in names if algorithm != "nccl" else ():
        lookup(name, each)
    if algorithm == "nccl" and (protocol != "auto" or pieces is not None):
        raise BadCall("NCCL picks protocol and pieces itself; leave --protocol and --pieces out")
    dtype = {theirs: ours for ours, theirs in TYPE_NAMES.items()}.get(dtype, dtype)
    if dtype not in TYPE_NAMES:
        raise BadCall(f"no element type {dtype!r}; there are {', '.join(TYPE_NAMES)}")
    declared = load_topology(topology, with_routing(overrides, routing), catalog)
    declared = with_faults(declared, faults_asked(faults, fail, degrade))
    policy_of(declared.options)
    if devices is not None and ranks is not None:
        raise BadCall("--ranks and --devices both say who takes part; give one of them")
    group = first_ranks(declared, ranks) if devices is None else group_of(declared, devices.split(","))
    joined = {link.name: None for link in only(declared, group).links}
    elsewhere = [fault.text for fault in declared.faults if fault.link not in joined]
    allowed = protocols_of(declared) if protocol == "auto" else (protocol_of(declared, protocol),)
    step = None if stepbytes is None else parse_size(stepbytes)
    sizes: tuple[int, ...] = (ITEM_BYTES[dtype],)
    if name != "barrier":
        sizes = sizes_between(parse_size(minbytes), parse_size(maxbytes), dtype, stepfactor, step)
    by_plans = live or explain or algorithm == "nccl"
    chooser = bulk_chooser(declared, group, allowed, name, names, bulk, by_plans)
    check_flows(name, names, group.world_size, chooser is not None)
    if pace is not None and not live:
        raise BadCall("--pace holds node processes to their speed; give it with --live")
    if warning := flows_warning(name, sizes, group.world_size, chooser is not None):
        click.echo(warning, err=True)
    if live and (warning := live_warning(name, sizes, group.world_size)):
        click.echo(warning, err=True)
    choices: list[AlgorithmChoice] = []
    rows: list[Row] = []
    proven: Outcome | None = None
    with progress() as tell:
        for done, size in enumerate(sizes):
            tell(done, len(sizes), f"{name} of {size} B")
            call = Call(name, group, size // ITEM_BYTES[dtype], dtype, root=root)
            if chooser is not None:
                choice, row = row_in_bulk(chooser, call, names, pieces)
            else:
                choice, row = row_of_plans(declared, call, names, allowed, pieces)
            choices.append(choice)
            rows.append(row)
        if live:
            proven = prove(declared, group, rows, seed, tell, pace, node_timeout_s)
    words = (
        f"windtunnel collective {name}: {group.world_size} ranks of {declared.name}, {'live' if live else 'virtual'}"
    )
    if as_json:
        config = {
            "args": sys.argv, "collective": name, "topology": declared.name, "topology_digest": declared.digest,
            "algorithm": algorithm, "protocol": protocol, "live": live, "seed": seed,
        }  # fmt: skip
        document = table_json(declared, group, config, rows)
        if proven is not None and proven.paced_s is not None:
            document["paced"] = {
                "paced_s": proven.paced_s, "virtual_s": proven.time_s, "overruns": proven.overruns, "dilation": pace
            }  # fmt: skip
        for result, choice in zip(document["results"], choices, strict=True):
            result["why"] = choice.reason
            if choice.link_changes:
                result["link_changes"] = list(choice.link_changes)
            if choice.left_out:
                result["left_out"] = list(choice.left_out)
            if explain:
                result["steps"] = [{**asdict(step), "bound": step.bound} for step in choice.steps]
        click.echo(dumps(document))
    else:
        click.echo(table_header(declared, group, words))
        for text in elsewhere:
            click.echo(f"# {text}: the link leads to a device outside of the group, and changes nothing")
        for text in left_out(choices) if explain or algorithm != "auto" else ():
            click.echo(f"# left out: {text}")
        print_rows(rows, choices, {each.name: each.sms for each in allowed} if explain else {}, explain)
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
