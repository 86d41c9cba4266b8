"""Runs a table of calls of one collective: every size by the fastest algorithm, and its data on nodes when asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.collectives.bulk.timing import in_bulk, refusal
from controller.collectives.call import NO_IN_PLACE, Call
from controller.collectives.choose.algorithm import AlgorithmChoice, choose
from controller.collectives.choose.bulk import BULK_ABOVE, BULK_ABOVE_IF_ALL, BulkChooser
from controller.collectives.choose.nccl import choose_nccl
from controller.collectives.errors import BadCall
from controller.collectives.group import Group, first_ranks, group_of, only
from controller.collectives.measure.calls import MeasuredCall, note_wrong, program_of
from controller.collectives.measure.sizes import sizes_between
from controller.collectives.protocol import Protocol, protocol_of, protocols_of
from controller.collectives.table import algorithm as lookup
from controller.collectives.table import algorithms
from controller.errors import RunError
from controller.execute.outcome import Outcome
from controller.experiment.collective_spec import CollectiveSpec
from controller.experiment.striking import striking
from controller.fabric.routing.table import policy_of
from controller.faults.targets import exists
from controller.faults.timeline import with_faults
from controller.program.run import ProgressSink
from controller.topology.loader import load_topology
from controller.topology.schema import Topology
from node.hardware.operation import ITEM_BYTES

DTYPES = ("fp64", "fp32", "fp16", "bf16", "int64", "int32", "int8")
"""Element types of calls: those that nccl-tests has a name for."""


@dataclass(frozen=True, slots=True)
class SizeRow:
    """One size: the choice, and the calls out of place and in place; None where there is no such form."""

    choice: AlgorithmChoice
    out_of_place: MeasuredCall
    in_place: MeasuredCall | None

    @property
    def calls(self) -> tuple[MeasuredCall, ...]:
        """The calls that there are."""
        return (self.out_of_place,) if self.in_place is None else (self.out_of_place, self.in_place)


@dataclass(frozen=True)
class PreparedCollective:
    """A table that can be run: everything is named, loaded and checked.

    Attributes:
        spec: what was asked.
        topology: with overrides and faults.
        group: the ranks.
        names: the algorithms that compete.
        protocols: that they may go by.
        sizes: of the calls [bytes].
        chooser: times calls in bulk; None where plans are timed.
    """

    spec: CollectiveSpec
    topology: Topology
    group: Group
    names: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    sizes: tuple[int, ...]
    chooser: BulkChooser | None

    @property
    def faults_elsewhere(self) -> tuple[str, ...]:
        """Faults of parts that the members of the group do not need, and so change nothing."""
        joined = only(self.topology, self.group)
        return tuple(fault.text for fault in self.topology.faults if not exists(joined, fault.target))


@dataclass(frozen=True)
class CollectiveTable:
    """A finished table.

    Attributes:
        prepared: what was run.
        rows: one a size.
        proven: the outcome of all calls on nodes; None without.
    """

    prepared: PreparedCollective
    rows: tuple[SizeRow, ...]
    proven: Outcome | None


def prepare_collective(spec: CollectiveSpec) -> PreparedCollective:
    """Loads and checks what `spec` names; runs nothing.

    Raises:
        UserError: an unknown name, a wrong file or override, or values that exclude each other.
    """
    if spec.seed < 0:
        raise BadCall(f"a seed of {spec.seed}; write 0 or more")
    name, algorithm = spec.collective, spec.algorithm
    known = algorithms(name)
    names = known if algorithm == "auto" else tuple(dict.fromkeys(algorithm.split(",")))
    for each in names if algorithm != "nccl" else ():
        lookup(name, each)
    if algorithm == "nccl" and (spec.protocol != "auto" or spec.pieces is not None):
        raise BadCall("NCCL picks protocol and pieces itself: remove --protocol and --pieces")
    if spec.dtype not in DTYPES:
        raise BadCall(f"no element type {spec.dtype!r}; there are {', '.join(DTYPES)}")
    declared = load_topology(spec.topology, spec.overrides, spec.catalog)
    declared = with_faults(declared, spec.faults)
    policy_of(declared.options)
    if spec.devices is not None and spec.ranks is not None:
        raise BadCall("--ranks and --devices both say which devices take part: give one of them")
    group = first_ranks(declared, spec.ranks) if spec.devices is None else group_of(declared, list(spec.devices))
    allowed = protocols_of(declared) if spec.protocol == "auto" else (protocol_of(declared, spec.protocol),)
    sizes: tuple[int, ...] = (ITEM_BYTES[spec.dtype],)
    if name != "barrier":
        sizes = tuple(sizes_between(spec.min_bytes, spec.max_bytes, spec.dtype, spec.factor, spec.step_bytes))
    chooser = _chooser(spec, declared, group, allowed, names)
    if spec.pace is not None and not spec.live:
        raise BadCall("--pace holds node processes to their speed: add --live")
    return PreparedCollective(spec, declared, group, names, allowed, sizes, chooser)


def run_collective(prepared: PreparedCollective, *, progress: ProgressSink | None = None) -> CollectiveTable:
    """Times every size, and proves the data of all of them on node processes when the spec asks for it.

    Raises:
        UserError: an algorithm that cannot run on the group.
        RunError: the run itself ended badly.
    """
    spec, rows = prepared.spec, list[SizeRow]()
    for done, size in enumerate(prepared.sizes):
        if progress is not None:
            progress(done, len(prepared.sizes), f"{spec.collective} of {size} B")
        call = Call(spec.collective, prepared.group, size // ITEM_BYTES[spec.dtype], spec.dtype, root=spec.root)
        rows.append(_row(prepared, call) if prepared.chooser is None else _bulk_row(prepared, prepared.chooser, call))
    proven = _prove(prepared, rows, progress) if spec.live else None
    return CollectiveTable(prepared, tuple(rows), proven)


def _row(prepared: PreparedCollective, call: Call) -> SizeRow:
    """One size: the choice out of place, and the same in place."""
    topology, names, allowed = prepared.topology, prepared.names, prepared.protocols
    by_nccl = names == ("nccl",)
    choice = choose_nccl(topology, call) if by_nccl else choose(topology, call, names, allowed, prepared.spec.pieces)
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
    return SizeRow(choice, best, in_place)


def _chooser(
    spec: CollectiveSpec, topology: Topology, group: Group, allowed: Sequence[Protocol], names: tuple[str, ...]
) -> BulkChooser | None:
    """What times calls in bulk, or None where plans are to be timed."""
    needs_plans = spec.live or spec.explain or spec.algorithm == "nccl"
    bulk = spec.bulk
    if bulk and needs_plans:
        raise BadCall("--bulk makes no plan that --live could run or --explain could take apart: remove one of them")
    if bulk is None:
        known = in_bulk(spec.collective, names)
        # Between the two a plan takes seconds a size: it is spared where that leaves nothing out.
        least = BULK_ABOVE_IF_ALL if len(known) == len(names) else BULK_ABOVE
        bulk = group.world_size > least and not needs_plans and bool(known) and not refusal(topology)
    return BulkChooser(topology, group, allowed) if bulk else None


def _bulk_row(prepared: PreparedCollective, chooser: BulkChooser, call: Call) -> SizeRow:
    """One size in bulk: the choice out of place, and the same in place."""
    choice = chooser.choose(call, prepared.names, prepared.spec.pieces)
    best = choice.best
    in_place = None
    if call.collective not in NO_IN_PLACE:
        again = replace(call, in_place=True)
        in_place = chooser.choose(again, (best.algorithm,), best.call.pieces, best.protocol).best
    return SizeRow(choice, best, in_place)


def _prove(prepared: PreparedCollective, rows: Sequence[SizeRow], progress: ProgressSink | None) -> Outcome:
    """Runs every call on node processes and notes in it how many elements are wrong; the outcome of all calls."""
    from controller.execute.live import run_live
    from controller.execute.survey import survey
    from controller.launch import launch, preflight

    spec = prepared.spec
    bare = only(prepared.topology, prepared.group)
    timed = [call for row in rows for call in row.calls]
    # Times stay those of the protocol; the nodes are there for the values.
    program = program_of(timed, spec.seed)
    found = survey(bare, [program])
    if found.does_not_fit is not None:
        raise found.does_not_fit
    preflight(bare, found.peak_bytes)
    with (
        launch(bare, spec.pace, needs=found.peak_bytes, node_timeout_s=spec.node_timeout_s) as cluster,
        striking(spec.live_faults, bare, cluster),
    ):
        outcome = run_live(bare, [program], cluster, progress=progress)
    if not outcome.ok:
        raise RunError(outcome.ended)
    note_wrong(timed, outcome)
    return outcome
