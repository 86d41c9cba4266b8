"""``windtunnel collective``: the table of nccl-tests for any collective on any topology."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.options import catalog_option, json_option, overrides_option

if TYPE_CHECKING:
    from controller.choose.algorithm import Choice
    from controller.collectives.call import Call
    from controller.collectives.group import Group
    from controller.collectives.measure import Measured
    from controller.report.nccl_table import Row
    from controller.topology.schema import Topology


@click.command()
@click.argument("name", metavar="COLLECTIVE")
@click.option("--topology", default="dgx_h100", show_default=True, help="A shipped name or a path ending in .yaml.")
@click.option("--ranks", type=int, help="The first so many GPUs (else NPUs, else CPUs).  [default: all]")
@click.option("--devices", help="The ranks by name instead, in order: gpu0,gpu2,gpu1.")
@click.option("--algorithm", default="auto", show_default=True, help="Names, of which the fastest; auto for all.")
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
@click.option("--seed", type=int, default=0, show_default=True, help="Of the data that is moved.")
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
    seed: int,
    overrides: tuple[str, ...],
    catalog: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Time COLLECTIVE (all_reduce, all_gather, ...) for every size, and with --live prove its result."""
    from controller.collectives.call import Call
    from controller.collectives.errors import BadCall
    from controller.collectives.group import first_ranks, group_of
    from controller.collectives.protocol import protocol_of, protocols_of
    from controller.collectives.sizes import parse_size, sizes_between
    from controller.collectives.table import algorithm as lookup
    from controller.collectives.table import algorithms
    from controller.report.json_output import dumps
    from controller.report.nccl_table import TYPE_NAMES, table_header, table_json, wrong_total
    from controller.report.progress import progress
    from controller.topology.loader import load_topology
    from node.hardware.operation import ITEM_BYTES

    known = algorithms(name)
    names = known if algorithm == "auto" else tuple(algorithm.split(","))
    for each in names:
        lookup(name, each)
    dtype = {theirs: ours for ours, theirs in TYPE_NAMES.items()}.get(dtype, dtype)
    if dtype not in TYPE_NAMES:
        raise BadCall(f"no element type {dtype!r}; there are {', '.join(TYPE_NAMES)}")
    declared = load_topology(topology, overrides, catalog)
    if devices is not None and ranks is not None:
        raise BadCall("--ranks and --devices both say who takes part; give one of them")
    group = first_ranks(declared, ranks) if devices is None else group_of(declared, devices.split(","))
    allowed = protocols_of(declared) if protocol == "auto" else (protocol_of(declared, protocol),)
    step = None if stepbytes is None else parse_size(stepbytes)
    sizes: tuple[int, ...] = (ITEM_BYTES[dtype],)
    if name != "barrier":
        sizes = sizes_between(parse_size(minbytes), parse_size(maxbytes), dtype, stepfactor, step)
    choices: list[Choice] = []
    rows: list[Row] = []
    with progress() as tell:
        for done, size in enumerate(sizes):
            tell(done, len(sizes), f"{name} of {size} B")
            call = Call(name, group, size // ITEM_BYTES[dtype], dtype, root=root)
            choice, row = _row(declared, call, names, allowed, pieces)
            choices.append(choice)
            rows.append(row)
        if live:
            _prove(declared, group, rows, seed, tell)
    words = (
        f"windtunnel collective {name}: {group.world_size} ranks of {declared.name}, {'live' if live else 'virtual'}"
    )
    if as_json:
        config = {
            "args": sys.argv, "collective": name, "topology": declared.name, "topology_digest": declared.digest,
            "algorithm": algorithm, "protocol": protocol, "live": live, "seed": seed,
        }  # fmt: skip
        document = table_json(declared, group, config, rows)
        for result, choice in zip(document["results"], choices, strict=True):
            result["why"] = choice.reason
            if explain:
                result["steps"] = [{**asdict(step), "bound": step.bound} for step in choice.steps]
        click.echo(dumps(document))
    else:
        click.echo(table_header(declared, group, words))
        _print(rows, choices, explain)
    if wrong_total(rows):
        raise click.exceptions.Exit(1)


def _row(
    topology: Topology, call: Call, names: tuple[str, ...], allowed: Any, pieces: int | None
) -> tuple[Choice, Row]:
    """One size: the choice out of place, and the same in place."""
    from controller.choose.algorithm import choose
    from controller.collectives.call import NO_IN_PLACE
    from controller.report.nccl_table import Row

    choice = choose(topology, call, names, allowed, pieces)
    best = choice.best
    in_place = None
    if call.collective not in NO_IN_PLACE:
        protocol = next(each for each in allowed if each.name == best.protocol)
        again = replace(call, in_place=True)
        in_place = choose(topology, again, (best.algorithm,), (protocol,), best.call.pieces).best
    return choice, Row(best, in_place)


def _prove(topology: Topology, group: Group, rows: list[Row], seed: int, tell: Any) -> None:
    """Runs every row on node processes and writes into it how many elements are wrong."""
    from controller.collectives.group import only
    from controller.collectives.measure import program_of
    from controller.execute.live import run_live
    from controller.execute.survey import survey
    from controller.launch import launch, preflight

    bare = only(topology, group)
    timed: list[Measured] = [entry for row in rows for entry in (row.out_of_place, row.in_place) if entry is not None]
    # Times stay those of the protocol; the nodes are there for the values.
    moved = [replace(entry) for entry in timed]
    program = program_of(moved, seed)
    found = survey(bare, [program_of([replace(entry) for entry in timed], seed)])
    if found.does_not_fit is not None:
        raise found.does_not_fit
    preflight(bare, found.peak_bytes)
    with launch(bare, needs=found.peak_bytes) as cluster:
        outcome = run_live(bare, [program], cluster, progress=tell)
    if not outcome.ok:
        from controller.errors import RunError

        raise RunError(outcome.ended)
    for entry, proven in zip(timed, moved, strict=True):
        entry.wrong = proven.wrong


def _print(rows: list[Row], choices: list[Choice], explain: bool) -> None:
    from controller.report.nccl_table import table_footer, table_row
    from controller.report.tables import quantity

    said = ""
    for row, choice in zip(rows, choices, strict=True):
        best = choice.best
        how = f"{best.algorithm}/{best.protocol}, {best.call.pieces} piece{'s' * (best.call.pieces > 1)}"
        if how != said:
            said = how
            click.echo(f"# {how}: {choice.reason}")
        click.echo(table_row(row))
        for step in choice.steps if explain else ():
            click.echo(
                f"#   {step.label}: {step.count} of {quantity(step.mean_s, 's')} each, {step.bound} "
                f"(latency {quantity(step.latency_s, 's')}, alone {quantity(step.alone_s, 's')})"
            )
    click.echo(table_footer(rows))
