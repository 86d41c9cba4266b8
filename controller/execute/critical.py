"""Why a run took its time: the chain of ops that decided its end, and the transfer time that nothing hid.

The chain is found per submitted plan, from its last op back: an op started when the last of what it waited for had
ended (an op before it in the plan, or the one ahead of it in its queue), and that one is the next link. Where an op
started later than all of these, it stood behind ops of another plan in its queue, and the gap is called waiting.
Plans follow each other as the program submitted them, so the chain of the run is that of the plan which ended last,
then of the plan whose end made the program submit that one, and so on.

A transfer is hidden while any compute unit works, and exposed otherwise; both are measured on the union of intervals,
so that two transfers at once count once.

Not modelled: which of two equally late predecessors is taken is a matter of order (the first in the plan).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from controller.execute.template import Bound, Template
from controller.plan.ops import Kernel, Transfer

FloatArray = npt.NDArray[np.float64]
Key = tuple[str, str, str]
"""Kind (compute, transfer, launch, waiting), where, label."""

_SLACK = 1e-9
"""Relative; instants that differ by less are one instant."""


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
        kind: compute, transfer, launch or waiting.
        where: device, or ``source -> destination``.
        label: of the op.
        count: ops on the chain.
        time_s: of the chain [s].
        alone_s: what they take with nothing beside them; less than `time_s` where they shared a resource [s].
    """

    kind: str
    where: str
    label: str
    count: int
    time_s: float
    alone_s: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the run took its time.

    Attributes:
        path: what the critical path consists of, longest first.
        path_s: its length; the rest of the run passed between plans (delays of the program) [s].
        compute_s: time during which some compute unit worked [s].
        transfer_s: time during which some transfer was under way [s].
        exposed_s: the part of `transfer_s` during which nothing computed [s].
    """

    path: tuple[PathEntry, ...]
    path_s: float
    compute_s: float
    transfer_s: float
    exposed_s: float

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


@dataclass(slots=True)
class _Done:
    """A plan that has ended: when it was submitted, when it ended, and its chain."""

    submitted_at: float
    end_at: float
    chain: dict[Key, PathTime]


@dataclass(slots=True)
class PathRecord:
    """Collects what `explain` needs while a run goes on."""

    _done: list[_Done] = field(default_factory=list)
    _compute: list[FloatArray] = field(default_factory=list)
    _transfer: list[FloatArray] = field(default_factory=list)

    def add(
        self, template: Template, bound: Bound, submitted_at: float, start_at: FloatArray, end_at: FloatArray
    ) -> None:
        """Takes one execution of a template."""
        if not len(start_at):
            return
        facts = template.plan.cache.get("path_facts")
        if facts is None or facts.template is not template:
            facts = template.plan.cache["path_facts"] = _PathFacts.of(template)
        self._compute.append(_union(start_at[facts.kernels], end_at[facts.kernels]))
        self._transfer.append(_union(start_at[facts.transfers], end_at[facts.transfers]))
        self._done.append(
            _Done(submitted_at, float(end_at.max()), _chain(facts, bound, submitted_at, start_at, end_at))
        )

    def explain(self) -> Explanation:
        """The explanation of everything added so far."""
        total: dict[Key, PathTime] = {}
        current = max(self._done, key=lambda done: done.end_at, default=None)
        by_end = sorted(self._done, key=lambda done: done.end_at)
        ends = np.array([done.end_at for done in by_end])
        while current is not None:
            for key, time in current.chain.items():
                entry = total.setdefault(key, PathTime())
                entry.count += time.count
                entry.time_s += time.time_s
                entry.alone_s += time.alone_s
            before = int(np.searchsorted(ends, current.submitted_at * (1 + _SLACK), "right")) - 1
            while before >= 0 and by_end[before].submitted_at >= current.submitted_at:
                before -= 1  # of no length: it cannot have come before
            current = by_end[before] if before >= 0 else None
        compute, transfer = _merge(self._compute), _merge(self._transfer)
        entries = [PathEntry(*key, time.count, time.time_s, time.alone_s) for key, time in total.items()]
        entries.sort(key=lambda entry: -entry.time_s)
        transfer_s = _length(transfer)
        return Explanation(
            tuple(entries),
            sum(entry.time_s for entry in entries),
            _length(compute),
            transfer_s,
            transfer_s - _common_length(transfer, compute),
        )


@dataclass(frozen=True, slots=True)
class _PathFacts:
    """What a template's rows are, found once."""

    template: Template
    kernels: npt.NDArray[np.bool_]
    transfers: npt.NDArray[np.bool_]
    keys: tuple[Key, ...]
    ahead: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, template: Template) -> _PathFacts:
        keys: list[Key] = []
        fabric = template.fabric
        names = template.row_names()
        queue_of = template.activities.queue.tolist()
        for row, index in enumerate(template.op_of.tolist()):
            op = template.plan.ops[index] if index >= 0 else None
            if isinstance(op, Kernel):
                keys.append(("compute", op.device, names[row]))
            elif isinstance(op, Transfer):
                ends = [f"{view.buffer.device}.{view.buffer.tier}" for view in (op.sources[0], op.destinations[0])]
                keys.append(("transfer", " -> ".join(ends), names[row]))
            elif index < 0:
                keys.append(("launch", fabric.queue_names[queue_of[row]].split(".", 1)[0], names[row]))
            else:
                keys.append(("waiting", str(getattr(getattr(op, "buffer", None), "device", "")), names[row]))
        kinds = np.array([key[0] for key in keys])
        return cls(template, kinds == "compute", kinds == "transfer", tuple(keys), _ahead(template))


def _ahead(template: Template) -> tuple[tuple[int, ...], ...]:
    """For each row what may have held it up: its edges, and as many rows ahead in its queue as that has slots."""
    activities, slots = template.activities, template.fabric.slots
    recent: dict[int, list[int]] = {}
    found: list[tuple[int, ...]] = []
    starts, deps = activities.dep_start.tolist(), activities.dep.tolist()
    for row, queue in enumerate(activities.queue.tolist()):
        waits = deps[starts[row] : starts[row + 1]]
        if queue >= 0:
            line = recent.setdefault(queue, [])
            waits = [*waits, *line[-int(slots[queue]) :]]
            line.append(row)
        found.append(tuple(waits))
    return tuple(found)


def _chain(
    facts: _PathFacts, bound: Bound, submitted_at: float, start_at: FloatArray, end_at: FloatArray
) -> dict[Key, PathTime]:
    alone = _alone_s(facts.template, bound)
    chain: dict[Key, PathTime] = {}
    row = int(np.argmax(end_at))
    slack = _SLACK * max(abs(float(end_at[row])), 1e-30)
    while row >= 0:
        start = float(start_at[row])
        entry = chain.setdefault(facts.keys[row], PathTime())
        entry.count += 1
        entry.time_s += float(end_at[row]) - start
        entry.alone_s += min(float(alone[row]), float(end_at[row]) - start)
        before, latest = -1, submitted_at
        for other in facts.ahead[row]:
            if end_at[other] > latest and end_at[other] <= start + slack:
                before, latest = other, float(end_at[other])
        if start - latest > slack:
            kind, where, _ = facts.keys[row]
            waiting = chain.setdefault(("waiting", where, f"behind other plans ({kind})"), PathTime())
            waiting.count += 1
            waiting.time_s += start - latest
            waiting.alone_s += 0.0
        row = before
    return chain


def _alone_s(template: Template, bound: Bound) -> FloatArray:
    """What every row takes with nothing beside it [s]."""
    rate = bound.rate_limit.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        most = template.fabric.capacity[template.activities.load_resource] / bound.load_weight
        np.minimum.at(rate, template.row_of_load, most)
        return np.asarray(bound.latency_s + np.where(bound.work > 0, bound.work / rate, 0.0))


def _union(start_at: FloatArray, end_at: FloatArray) -> FloatArray:
    """Disjoint intervals (n, 2) in ascending order that cover the given ones, empty ones left out."""
    kept = end_at > start_at
    return _merge([np.stack([start_at[kept], end_at[kept]], axis=1)])


def _merge(parts: list[FloatArray]) -> FloatArray:
    """The union of sets of intervals, disjoint and ascending (n, 2)."""
    whole = np.concatenate([*parts, np.empty((0, 2))])
    if not len(whole):
        return whole
    whole = whole[np.argsort(whole[:, 0], kind="stable")]
    reach = np.maximum.accumulate(whole[:, 1])
    first = np.concatenate([[True], whole[1:, 0] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([whole[first, 0], reach[last]], axis=1)


def _length(intervals: FloatArray) -> float:
    return float((intervals[:, 1] - intervals[:, 0]).sum())


def _common_length(one: FloatArray, other: FloatArray) -> float:
    """Length of the intersection of two unions."""
    both = _merge([one, other])
    return _length(one) + _length(other) - _length(both)
