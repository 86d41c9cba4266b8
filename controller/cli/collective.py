"""``windtunnel collective``: the table of nccl-tests for any collective on any topology."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.collective_limits import check_flows, live_warning
from controller.cli.fabric_options import fabric_options, faults_asked, with_routing
from controller.cli.options import catalog_option, json_option, node_timeout_option, overrides_option

if TYPE_CHECKING:
    from controller.collectives.call import Call
    from controller.collectives.choose.algorithm import AlgorithmChoice
    from controller.collectives.choose.bulk import BulkChooser
    from controller.collectives.group import Group
    from controller.collectives.measure.calls import MeasuredCall
    from controller.execute.outcome import Outcome
    from controller.report.nccl_table import Row
    from controller.topology.schema import Topology


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
    chooser = _chooser(declared, group, allowed, name, names, bulk, by_plans)
    check_flows(name, names, group.world_size, chooser is not None)
    if pace is not None and not live:
        raise BadCall("--pace holds node processes to their speed; give it with --live")
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
                choice, row = _bulk_row(chooser, call, names, pieces)
            else:
                choice, row = _row(declared, call, names, allowed, pieces)
            choices.append(choice)
            rows.append(row)
        if live:
            proven = _prove(declared, group, rows, seed, tell, pace, node_timeout_s)
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
        for text in _left_out(choices) if explain or algorithm != "auto" else ():
            click.echo(f"# left out: {text}")
        _print(rows, choices, {each.name: each.sms for each in allowed} if explain else {}, explain)
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


def _row(
    topology: Topology, call: Call, names: tuple[str, ...], allowed: Any, pieces: int | None
) -> tuple[AlgorithmChoice, Row]:
    """One size: the choice out of place, and the same in place."""
    from controller.collectives.call import NO_IN_PLACE
    from controller.collectives.choose.algorithm import choose
    from controller.collectives.choose.nccl import choose_nccl
    from controller.collectives.errors import BadCall
    from controller.report.nccl_table import Row

    by_nccl = names == ("nccl",)
    choice = choose_nccl(topology, call) if by_nccl else choose(topology, call, names, allowed, pieces)
    best = choice.best
    in_place = None
    if call.collective not in NO_IN_PLACE:
        protocol = next(each for each in allowed if each.name == best.protocol)
        again = replace(call, in_place=True)
        try:
            in_place = choose(topology, again, (best.algorithm,), (protocol,), best.call.pieces).best
        except BadCall:
            # A file may hold an algorithm that works out of place alone; its other half of the row stays empty.
            if not best.algorithm.endswith(".xml"):
                raise
    return choice, Row(best, in_place)


def _chooser(
    topology: Topology,
    group: Group,
    allowed: Any,
    name: str,
    names: tuple[str, ...],
    bulk: bool | None,
    needs_plans: bool,
) -> BulkChooser | None:
    """What times calls in bulk, or None where plans are to be timed."""
    from controller.collectives.bulk.timing import in_bulk, refusal
    from controller.collectives.choose.bulk import BULK_ABOVE, BULK_ABOVE_IF_ALL, BulkChooser
    from controller.collectives.errors import BadCall

    if bulk and needs_plans:
        raise BadCall("--bulk makes no plan that --live could run or --explain could take apart; leave one of them out")
    if bulk is None:
        known = in_bulk(name, names)
        # Between the two a plan takes seconds a size: it is spared where that leaves nothing out.
        least = BULK_ABOVE_IF_ALL if len(known) == len(names) else BULK_ABOVE
        bulk = group.world_size > least and not needs_plans and bool(known) and not refusal(topology)
    return BulkChooser(topology, group, allowed) if bulk else None


def _bulk_row(
    chooser: BulkChooser, call: Call, names: tuple[str, ...], pieces: int | None
) -> tuple[AlgorithmChoice, Row]:
    """One size in bulk: the choice out of place, and the same in place."""
    from controller.collectives.call import NO_IN_PLACE
    from controller.report.nccl_table import Row

    choice = chooser.choose(call, names, pieces)
    best = choice.best
    in_place = None
    if call.collective not in NO_IN_PLACE:
        again = replace(call, in_place=True)
        in_place = chooser.choose(again, (best.algorithm,), best.call.pieces, best.protocol).best
    return choice, Row(best, in_place)


def _prove(
    topology: Topology,
    group: Group,
    rows: list[Row],
    seed: int,
    tell: Any,
    pace: float | None,
    node_timeout_s: float,
) -> Outcome:
    """Runs every row on node processes and writes into it how many elements are wrong; the outcome of all rows."""
    from controller.collectives.group import only
    from controller.collectives.measure.calls import note_wrong, program_of
    from controller.execute.live import run_live
    from controller.execute.survey import survey
    from controller.launch import launch, preflight

    bare = only(topology, group)
    timed: list[MeasuredCall] = [
        entry for row in rows for entry in (row.out_of_place, row.in_place) if entry is not None
    ]
    # Times stay those of the protocol; the nodes are there for the values.
    program = program_of(timed, seed)
    found = survey(bare, [program])
    if found.does_not_fit is not None:
        raise found.does_not_fit
    preflight(bare, found.peak_bytes)
    with launch(bare, pace, needs=found.peak_bytes, node_timeout_s=node_timeout_s) as cluster:
        outcome = run_live(bare, [program], cluster, progress=tell)
    if not outcome.ok:
        from controller.errors import RunError

        raise RunError(outcome.ended)
    note_wrong(timed, outcome)
    return outcome


def _left_out(choices: list[AlgorithmChoice]) -> list[str]:
    """What could not run, and why, each once for all sizes that give the same reason."""
    return list(dict.fromkeys(text for choice in choices for text in choice.left_out))


def _print(rows: list[Row], choices: list[AlgorithmChoice], sms: dict[str, int], explain: bool) -> None:
    from controller.report.link_changes import change_text
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
        for change in choice.link_changes:
            click.echo(f"#   {change_text(change)}")
        if sms.get(best.protocol):
            click.echo(f"#   its channels keep {sms[best.protocol]} multiprocessors of each rank from other kernels")
        for step in choice.steps if explain else ():
            click.echo(
                f"#   {step.label}: {step.count} of {quantity(step.mean_s, 's')} each, {step.bound} "
                f"(latency {quantity(step.latency_s, 's')}, alone {quantity(step.alone_s, 's')})"
            )
    click.echo(table_footer(rows))
