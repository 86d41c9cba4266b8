"""Which ranks hold up the others, from the dumps of a job that hangs.

Every rank issues its operations in order, so it waits in the first that has not completed: for each member of that
operation's communicator that has not come as far. Following these waits from communicator to communicator ends at ranks
that wait for nobody: those that never entered what others wait in, those that are stuck in what others have completed,
and those without a dump. The rest are their victims.

Follows: the wavefront of NVIDIA's resiliency extension (the order of group kinds), as a graph of waits.
Differs: order is taken from each rank's own record, so no kind of group needs to be known.
Not seen: ranks that are slow (all operations completed), and a dead link (all ranks are in the same operation): then
    the communicators that stand still are named, and no rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.diagnosis.dumps import RankDump, RecordedOp
from controller.diagnosis.mismatch import Mismatch, mismatches
from controller.diagnosis.telemetry import Communicator
from controller.faults.wait_for import Wait, WaitForGraph


@dataclass(frozen=True, slots=True)
class GuiltyRank:
    """A rank that holds up others and waits for nobody.

    Attributes:
        rank: which.
        kind: ``no dump``, ``never entered``, ``stuck`` or ``mismatch``.
        evidence: what the dumps say, a sentence.
        victims: ranks that wait for it, directly or through others.
    """

    rank: int
    kind: str
    evidence: str
    victims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wavefront:
    """What the dumps of a job say.

    Attributes:
        guilty: by rank.
        standing: communicators whose members have all entered an operation that none has completed, where no rank can
            be named.
        without_dump: ranks of the job that left no dump.
        graph: who waits for whom.
    """

    guilty: tuple[GuiltyRank, ...]
    standing: tuple[tuple[Communicator, str], ...]
    without_dump: tuple[int, ...]
    graph: WaitForGraph[int]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The guilty ranks."""
        return tuple(each.rank for each in self.guilty)


def wavefront(dumps: Iterable[RankDump]) -> Wavefront:
    """Names the ranks that hold up the others; the order of `dumps` means nothing."""
    of_rank = {dump.rank: dump for dump in sorted(dumps, key=lambda dump: dump.rank)}
    known = _Positions(of_rank)
    members = {rank for dump in of_rank.values() for group in dump.communicators for rank in group.ranks}
    without_dump = tuple(sorted(members - of_rank.keys()))
    stuck = known.stuck()
    graph = WaitForGraph(_waits(known, in_order=True))
    roots = _free(graph)
    # Operations of different communicators may overlap: then who is behind is who never issued what others wait in, or,
    # where all wait in the same operation, what others have issued behind it.
    for first_only in (True, False):
        if not roots and not stuck:
            graph = WaitForGraph(_waits(known, in_order=False, first_only=first_only))
            roots = _free(graph)
    found = {rank: _guilty(known, graph, rank, stuck) for rank in sorted({*roots, *stuck})}
    for odd in mismatches(of_rank.values()):
        for rank in odd.ranks:
            found.setdefault(rank, _differs(rank, odd))
    standing = () if found else known.standing()
    return Wavefront(tuple(found[rank] for rank in sorted(found)), standing, without_dump, graph)


def _free(graph: WaitForGraph[int]) -> tuple[int, ...]:
    return tuple(rank for members in graph.roots() if len(members) == 1 for rank in members)


def _waits(known: _Positions, *, in_order: bool, first_only: bool = True) -> list[Wait[int]]:
    return [
        Wait(rank, member, str(op))
        for rank, first in known.waiting.items()
        for op in ((first,) if first_only else known.open_ops(rank))
        for member in known.members(op, rank)
        if not known.has_come(member, op, rank, in_order=in_order)
    ]


def _guilty(known: _Positions, graph: WaitForGraph[int], rank: int, stuck: Mapping[int, str]) -> GuiltyRank:
    victims = graph.held_up_by(rank)
    awaited = next((wait.what for wait in graph.waits if wait.awaited == rank), "")
    if rank not in known.dumps:
        return GuiltyRank(rank, "no dump", f"left no dump, and others wait for it in {awaited}", victims)
    if rank in stuck:
        return GuiltyRank(rank, "stuck", stuck[rank], victims)
    return GuiltyRank(rank, "never entered", f"never entered {awaited}, in which others wait for it", victims)


def _differs(rank: int, odd: Mismatch) -> GuiltyRank:
    return GuiltyRank(rank, "mismatch", odd.text, tuple(other for other in odd.others if other != rank))


class _Positions:
    """How far every rank has come.

    Args:
        dumps: by rank.
    """

    def __init__(self, dumps: Mapping[int, RankDump]) -> None:
        self.dumps = dumps
        self.waiting: dict[int, RecordedOp] = {
            rank: op for rank, dump in dumps.items() if (op := dump.waiting_in) is not None
        }
        self._ops = {(rank, *key(op)): op for rank, dump in dumps.items() for op in dump.ops}
        self._first: dict[tuple[int, Communicator, bool], int] = {}
        self._of_pair: dict[tuple[int, object], list[RecordedOp]] = {}
        for rank, dump in dumps.items():
            for op in dump.ops:
                place = (rank, op.communicator, op.is_p2p)
                self._first[place] = min(op.seq, self._first.get(place, op.seq))
                if op.is_p2p:
                    self._of_pair.setdefault((rank, (op.communicator, op.pair)), []).append(op)

    def open_ops(self, rank: int) -> tuple[RecordedOp, ...]:
        """What `rank` has issued and not completed."""
        return tuple(op for op in self.dumps[rank].ops if op.state != "completed")

    def members(self, op: RecordedOp, rank: int) -> tuple[int, ...]:
        """Whom `rank` meets in `op`."""
        ranks = op.communicator.ranks if op.pair is None else op.pair
        return tuple(other for other in ranks if other != rank)

    def has_come(self, member: int, op: RecordedOp, rank: int, *, in_order: bool) -> bool:
        """Whether `member` has come to `op`, in which `rank` waits."""
        if member not in self.dumps:
            return False
        same = self._counterpart(member, op, rank)
        if same is not None:
            if op.state == "started" and same.state == "scheduled":
                return False
            return same.state == "completed" or not in_order or self.waiting.get(member) == same
        if op.seq < self._first.get((member, op.communicator, op.is_p2p), -1) and op.pair is None:
            return True  # so long ago that the recorder has dropped it
        progress = self.dumps[member].progress.get(-1 if op.group_number is None else op.group_number)
        return progress is not None and progress.completed >= op.seq

    def stuck(self) -> dict[int, str]:
        """Ranks that wait in what all others have entered and some have completed, and what they are stuck in."""
        found: dict[int, str] = {}
        for rank, op in self.waiting.items():
            others = [member for member in self.members(op, rank) if member in self.dumps]
            entered = all(self.has_come(member, op, rank, in_order=True) for member in self.members(op, rank))
            done = [member for member in others if self._has_completed(member, op, rank)]
            if entered and done and op.pair is None:
                found[rank] = f"is stuck in {op}, which rank {done[0]} has completed"
        return found

    def standing(self) -> tuple[tuple[Communicator, str], ...]:
        """Operations that all members have entered and none has completed."""
        found: dict[Communicator, str] = {}
        for rank, op in self.waiting.items():
            if all(self.has_come(member, op, rank, in_order=True) for member in self.members(op, rank)):
                found.setdefault(op.communicator, str(op))
        return tuple(sorted(found.items(), key=lambda each: (each[0].name, each[0].ranks)))

    def _has_completed(self, member: int, op: RecordedOp, rank: int) -> bool:
        same = self._counterpart(member, op, rank)
        return self.has_come(member, op, rank, in_order=True) if same is None else same.state == "completed"

    def _counterpart(self, member: int, op: RecordedOp, rank: int) -> RecordedOp | None:
        """What `member` recorded of `op`."""
        if not op.is_p2p:
            return self._ops.get((member, *key(op)))
        pair = (op.communicator, op.pair)
        own, theirs = self._of_pair.get((rank, pair), []), self._of_pair.get((member, pair), [])
        if {each.seq for each in own} & {each.seq for each in theirs} or len(op.communicator.ranks) == 2:
            return next((each for each in theirs if each.seq == op.seq), None)
        # Messages are numbered over all pairs of a rank: then the first open one of each end belong together.
        return _nth_open(theirs, [each for each in own if each.state != "completed"].index(op))


def key(op: RecordedOp) -> tuple[Communicator, bool, int]:
    """What an operation of a group has in common on all ranks."""
    return op.communicator, op.is_p2p, op.seq


def _nth_open(ops: Sequence[RecordedOp], number: int) -> RecordedOp | None:
    still = [op for op in ops if op.state != "completed"]
    return still[number] if number < len(still) else None
