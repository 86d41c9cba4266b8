"""Why a run took its time: the chain of ops that decided its end, and the transfer time that nothing hid.

The chain is found per submitted plan, from its last op back: an op started when the last of what it waited for had
ended (an op before it in the plan, or the one ahead of it in its queue), and that one is the next link. Where an op
started later than all of these, it stood behind ops of another plan in its queue, and the gap is called waiting.
Plans follow each other as the program submitted them, so the chain of the run is that of the plan which ended last,
then of the plan whose end made the program submit that one, and so on; a delay of the program is a plan of one op.

Each link has a resource: what its time went into. An op that was slower than it is alone shared the resource that the
plan keeps busiest of those it loads. One that ran as fast as it does alone is held by what limits it then: a tier, port
or link, the arithmetic of its device, its latency, or a software path slower than the hardware.

A transfer is hidden while any compute unit works, and exposed otherwise; both are measured on the union of intervals,
so that two transfers at once count once.

Not modelled: which of two equally late predecessors is taken is a matter of order (the first in the plan).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from controller.execute.intervals import common_length, length, merge, union
from controller.execute.path_facts import FULL, LIMITED, SHARED, WAITED, Key, PathFacts
from controller.execute.template import Bound, Template

FloatArray = npt.NDArray[np.float64]
_SLACK = 1e-9
"""Relative; instants that differ by less are one instant."""
_SHARED = 1e-6
"""Relative; an op that takes longer than alone by more has shared a resource."""


@dataclass(slots=True)
class PathTime:
    """What ops of one kind contribute to the chain: their number, time on it, and the time that they take alone [s]."""

    count: int = 0
    time_s: float = 0.0
    alone_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PathEntry:
    """One line of the explanation.

    Attributes:
        kind: compute, transfer, launch, waiting or delay.
        where: device, or ``source -> destination``.
        label: of the op.
        resource: what the time went into.
        count: ops on the chain.
        time_s: of the chain [s].
        alone_s: what they take with nothing beside them; less than `time_s` where they shared a resource [s].
    """

    kind: str
    where: str
    label: str
    resource: str
    count: int
    time_s: float
    alone_s: float


@dataclass(frozen=True, slots=True)
class PathSegment:
    """One op of the chain, as a timeline draws it: its label, where it ran, and its instants [s]."""

    label: str
    where: str
    start_at: float
    end_at: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the run took its time.

    Attributes:
        path: what the critical path consists of, longest first.
        path_s: its length; the rest of the run passed between plans [s].
        compute_s: time during which some compute unit worked [s].
        transfer_s: time during which some transfer was under way [s].
        exposed_s: the part of `transfer_s` during which nothing computed [s].
        segments: the chain op by op, in order of time; empty unless the record kept them.
    """

    path: tuple[PathEntry, ...]
    path_s: float
    compute_s: float
    transfer_s: float
    exposed_s: float
    segments: tuple[PathSegment, ...] = ()

    @property
    def hidden_s(self) -> float:
        """The part of the transfer time that computation hid [s]."""
        return self.transfer_s - self.exposed_s

    def to_json(self) -> dict[str, Any]:
        """The ``explanation`` object of ``run --json``."""
        return {
            "critical_path_s": self.path_s,
            "compute_s": self.compute_s,
            "transfer_s": self.transfer_s,
            "exposed_transfer_s": self.exposed_s,
            "hidden_transfer_s": self.hidden_s,
            "critical_path": [asdict(entry) for entry in self.path],
        }


@dataclass(frozen=True, slots=True)
class _Chain:
    """Sums over the chain of one plan: of each key the number of ops, their time and their time alone [s]."""

    keys: tuple[Key, ...]
    count: npt.NDArray[np.int64]
    time_s: FloatArray
    alone_s: FloatArray

    def __mul__(self, times: int) -> _Chain:
        return _Chain(self.keys, times * self.count, times * self.time_s, times * self.alone_s)


@dataclass(slots=True)
class _Done:
    """A plan that has ended: when it was submitted, when it ended, its chain, and the chain op by op."""

    submitted_at: float
    end_at: float
    chain: _Chain
    segments: list[PathSegment]


@dataclass(slots=True)
class PathRecord:
    """Collects what `explain` needs while a run goes on.

    Attributes:
        overlap: whether to measure how much of the transfers computation hides.
        keeps_segments: whether to keep the chain op by op, for a timeline.
    """

    overlap: bool = True
    keeps_segments: bool = False
    _done: list[_Done] = field(default_factory=list)
    _last: _Done | None = None
    _compute: list[FloatArray] = field(default_factory=list)
    _transfer: list[FloatArray] = field(default_factory=list)
    _repeated: FloatArray = field(default_factory=lambda: np.zeros(3))
    _facts: WeakKeyDictionary[Template, PathFacts] = field(default_factory=WeakKeyDictionary)

    def add(
        self, template: Template, bound: Bound, submitted_at: float, start_at: FloatArray, end_at: FloatArray
    ) -> None:
        """Takes one execution of a template."""
        if not len(start_at):
            self._last = None
            return
        facts = self._facts.get(template)
        if facts is None:
            facts = self._facts[template] = PathFacts.of(template, bound)
        if self.overlap:
            self._compute.append(union(start_at[facts.kernels], end_at[facts.kernels]))
            self._transfer.append(union(start_at[facts.transfers], end_at[facts.transfers]))
        self._last = _trace_back(facts, bound, submitted_at, start_at, end_at, self.keeps_segments)
        self._done.append(self._last)

    def add_delay(self, submitted_at: float, end_at: float) -> None:
        """Takes a pause of a program."""
        key: Key = ("delay", "program", "delay", "pauses of the program")
        time_s = np.array([end_at - submitted_at])
        segments = [PathSegment("delay", "program", submitted_at, end_at)] if self.keeps_segments else []
        self._done.append(_Done(submitted_at, end_at, _Chain((key,), np.ones(1, np.int64), time_s, time_s), segments))

    def again(self, submitted_at: float, times: int) -> None:
        """Takes `times` repetitions, from `submitted_at` on, of the plan that was added last."""
        last = self._last
        if last is None:
            return
        end_at = submitted_at + times * (last.end_at - last.submitted_at)
        text = f"{times} repetitions"
        segments = [PathSegment(text, "program", submitted_at, end_at)] if self.keeps_segments else []
        self._done.append(_Done(submitted_at, end_at, last.chain * times, segments))
        if self.overlap:
            self._repeated += times * _overlap(self._compute[-1], self._transfer[-1])

    def explain(self) -> Explanation:
        """The explanation of everything added so far."""
        total: dict[Key, PathTime] = {}
        segments: list[list[PathSegment]] = []
        current = max(self._done, key=lambda done: done.end_at, default=None)
        by_end = sorted(self._done, key=lambda done: done.end_at)
        ends = np.array([done.end_at for done in by_end])
        while current is not None:
            segments.append(current.segments)
            chain = current.chain
            for number, key in enumerate(chain.keys):
                entry = total.setdefault(key, PathTime())
                entry.count += int(chain.count[number])
                entry.time_s += float(chain.time_s[number])
                entry.alone_s += float(chain.alone_s[number])
            before = int(np.searchsorted(ends, current.submitted_at * (1 + _SLACK), "right")) - 1
            while before >= 0 and by_end[before].submitted_at >= current.submitted_at:
                before -= 1  # of no length: it cannot have come before
            current = by_end[before] if before >= 0 else None
        compute_s, transfer_s, hidden_s = _overlap(merge(self._compute), merge(self._transfer)) + self._repeated
        entries = [PathEntry(*key, time.count, time.time_s, time.alone_s) for key, time in total.items()]
        entries.sort(key=lambda entry: -entry.time_s)
        return Explanation(
            tuple(entries),
            sum(entry.time_s for entry in entries),
            float(compute_s),
            float(transfer_s),
            float(transfer_s - hidden_s),
            tuple(segment for part in reversed(segments) for segment in part),
        )


def _overlap(compute: FloatArray, transfer: FloatArray) -> FloatArray:
    """Time in which anything computes, in which anything is under way, and in which both are [s]."""
    return np.array([length(compute), length(transfer), common_length(transfer, compute)])


def _trace_back(
    facts: PathFacts, bound: Bound, submitted_at: float, start_at: FloatArray, end_at: FloatArray, keeps: bool
) -> _Done:
    """Walks from the row that ended last to one that waited for nothing."""
    starts, ends = start_at.tolist(), end_at.tolist()
    ahead = facts.ahead
    path: list[int] = []
    gaps: list[tuple[int, float, float]] = []
    row = int(np.argmax(end_at))
    last = ends[row]
    slack = _SLACK * max(abs(last), 1e-30)
    while row >= 0:
        path.append(row)
        limit = starts[row] + slack
        before, latest = -1, submitted_at
        for other in ahead[row]:
            if latest < ends[other] <= limit:
                before, latest = other, ends[other]
        if latest < limit - 2 * slack:
            gaps.append((row, latest, starts[row]))
        row = before
    chain = _summed(facts, bound, np.array(path), end_at[path] - start_at[path], gaps)
    return _Done(submitted_at, last, chain, _segments(facts, path, starts, ends, gaps) if keeps else [])


def _summed(
    facts: PathFacts,
    bound: Bound,
    rows: npt.NDArray[np.int64],
    duration_s: FloatArray,
    gaps: list[tuple[int, float, float]],
) -> _Chain:
    """Sums over `rows` and over the gaps before some of them."""
    alone_s, is_limited = facts.alone(bound)
    alone_s, is_limited = alone_s[rows], is_limited[rows]
    cause = np.where(is_limited, LIMITED, FULL)
    cause[bound.latency_s[rows] >= duration_s / 2] = WAITED
    cause[duration_s > alone_s * (1 + _SHARED)] = SHARED
    keys, group = facts.groups(rows, cause, bound.limits)
    count = np.bincount(group, minlength=len(keys))
    time_s: FloatArray = np.bincount(group, duration_s, len(keys)).astype(np.float64)
    alone: FloatArray = np.bincount(group, np.minimum(alone_s, duration_s), len(keys)).astype(np.float64)
    if gaps:
        keys = (*keys, *(_waiting(facts, row) for row, _, _ in gaps))
        waited = np.array([end - start for _, start, end in gaps])
        count = np.concatenate([count, np.ones(len(gaps), np.int64)])
        time_s, alone = np.concatenate([time_s, waited]), np.concatenate([alone, np.zeros(len(gaps))])
    return _Chain(keys, count, time_s, alone)


def _waiting(facts: PathFacts, row: int) -> Key:
    kind, where, _ = facts.keys[row]
    return "waiting", where, f"behind other plans ({kind})", "other plans"


def _segments(
    facts: PathFacts,
    path: list[int],
    starts: list[float],
    ends: list[float],
    gaps: list[tuple[int, float, float]],
) -> list[PathSegment]:
    """The chain op by op, in order of time."""
    found = [PathSegment(facts.keys[row][2], facts.keys[row][1], starts[row], ends[row]) for row in path]
    found += [PathSegment("waiting", facts.keys[row][1], start, end) for row, start, end in gaps]
    return sorted((each for each in found if each.end_at > each.start_at), key=lambda each: each.start_at)
