"""The calls of ``windtunnel collective``: timed as plans or in bulk, and proven on nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controller.collectives.call import Call
    from controller.collectives.choose.algorithm import AlgorithmChoice
    from controller.collectives.choose.bulk import BulkChooser
    from controller.collectives.group import Group
    from controller.collectives.measure.calls import MeasuredCall
    from controller.execute.outcome import Outcome
    from controller.report.nccl_table import Row
    from controller.topology.schema import Topology


def row_of_plans(
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


def bulk_chooser(
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


def row_in_bulk(
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


def prove(
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
