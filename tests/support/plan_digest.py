"""What a plan means, free of the names and places of its destinations: its ops, and who reads what whom wrote.

Two strategies with equal digests do the same work with the same data dependencies, however they name, place and reuse
their buffers.
"""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

from controller.plan.bound import bind_attribute, tensor_type, view_bytes
from controller.plan.extents import accesses
from controller.plan.ops import Alloc, Buffer, Free, Kernel, Op, Plan, View
from controller.plan.size import Bindings, bind_size
from node.hardware.operations import operation

Renames = Mapping[str, str]
"""Label of today to the label under which the golden file knows it."""
OUTSIDE = "outside"
"""What made the bytes that no op of the plan wrote."""


def digest(lines: Iterable[str]) -> str:
    """Sixteen hexadecimal digits of the lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def digest_of_counts(counts: Counter[str]) -> str:
    """The digest of a multiset, whatever the order in which it was filled."""
    return digest(f"{count} {what}" for what, count in sorted(counts.items()))


def _tensor(view: View, bindings: Bindings) -> str:
    kind = tensor_type(view, bindings)
    return f"{kind.dtype}{list(kind.shape)}@{view.buffer.device}.{view.buffer.tier}"


def op_key(op: Op, bindings: Bindings, renames: Renames) -> str:
    """Kind, device, label, attributes, and shapes with the tiers in which they lie."""
    if isinstance(op, Alloc | Free):
        return f"{type(op).__name__} {op.buffer.nbytes}@{op.buffer.device}.{op.buffer.tier}"
    label = renames.get(op.label, op.label)
    if isinstance(op, Kernel):
        given = sorted((name, bind_attribute(value, bindings)) for name, value in op.attributes.items())
        head = f"{op.op} {given} {op.device}"
        sides: tuple[Iterable[View], Iterable[View]] = (op.inputs, op.outputs)
    else:
        head = f"transfer {op.reduction} {op.path} {op.rate_limit_bytes_per_s}"
        sides = (op.sources, op.destinations)
    ins, outs = (" ".join(_tensor(view, bindings) for view in side) for side in sides)
    return f"{head} queue={op.queue} label={label} {ins} -> {outs}"


def _bytes(view: View, bindings: Bindings) -> tuple[int, int]:
    """First and last-plus-one byte of a view, open sizes bound [bytes]."""
    start = bind_size(view.offset_bytes, bindings)
    return start, start + view_bytes(view, bindings)


class _Writers:
    """Per buffer disjoint byte ranges in order, each with the digests of those who wrote what it holds."""

    def __init__(self) -> None:
        self._ranges: dict[Buffer, list[tuple[int, int, frozenset[str]]]] = {}

    def read(self, view: View, bindings: Bindings) -> frozenset[str]:
        """Who wrote the bytes of a view."""
        start, stop = _bytes(view, bindings)
        ranges = self._ranges.get(view.buffer, [])
        found: set[str] = set()
        at, covered = self._first(ranges, start), start
        while at < len(ranges) and ranges[at][0] < stop:
            if ranges[at][0] > covered:
                found.add(OUTSIDE)
            found |= ranges[at][2]
            covered = ranges[at][1]
            at += 1
        if covered < stop or not found:
            found.add(OUTSIDE)
        return frozenset(found)

    def write(self, view: View, bindings: Bindings, writer: str, *, partly: bool) -> None:
        """Notes a writer; one that writes partly leaves the writers before it in place."""
        start, stop = _bytes(view, bindings)
        ranges = self._ranges.setdefault(view.buffer, [])
        first = last = self._first(ranges, start)
        while last < len(ranges) and ranges[last][0] < stop:
            last += 1
        new: list[tuple[int, int, frozenset[str]]] = []
        old = ranges[first:last]
        if old and old[0][0] < start:
            new.append((old[0][0], start, old[0][2]))
        if partly:
            covered = start
            for low, high, writers in old:
                low, high = max(low, start), min(high, stop)
                if low > covered:
                    new.append((covered, low, frozenset((OUTSIDE, writer))))
                new.append((low, high, writers | {writer}))
                covered = high
            if covered < stop:
                new.append((covered, stop, frozenset((OUTSIDE, writer))))
        else:
            new.append((start, stop, frozenset((writer,))))
        if old and old[-1][1] > stop:
            new.append((stop, old[-1][1], old[-1][2]))
        ranges[first:last] = new

    @staticmethod
    def _first(ranges: list[tuple[int, int, frozenset[str]]], start: int) -> int:
        """The first range that ends after `start`."""
        return bisect_left(ranges, start + 1, key=lambda entry: entry[1])


class PlanDigest:
    """The ops and the data dependencies of plans that were submitted, as multisets."""

    def __init__(self, renames: Renames) -> None:
        self.ops: Counter[str] = Counter()
        self.edges: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self._renames = renames
        self._kept: dict[object, tuple[Plan, tuple[Counter[str], Counter[str], Counter[str]]]] = {}

    def add(self, plan: Plan, bindings: Bindings, times: int = 1) -> None:
        """Counts a submission, or `times` equal ones."""
        key = id(plan), tuple(sorted(bindings.items()))
        if key not in self._kept:
            self._kept[key] = plan, self._count(plan, bindings)
        for total, counts in zip((self.ops, self.edges, self.labels), self._kept[key][1], strict=True):
            for what, count in counts.items():
                total[what] += count * times

    def _count(self, plan: Plan, bindings: Bindings) -> tuple[Counter[str], Counter[str], Counter[str]]:
        ops: Counter[str] = Counter()
        edges: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        writers = _Writers()
        for op in plan.ops:
            key = op_key(op, bindings, self._renames)
            ops[key] += 1
            if isinstance(op, Alloc | Free):
                labels[type(op).__name__.lower()] += 1
                continue
            name = op.op if isinstance(op, Kernel) else "transfer"
            labels[self._renames.get(op.label, op.label) or name] += 1
            reads, writes = accesses(op)
            made_by = digest((key, *(",".join(sorted(writers.read(view, bindings))) for view in reads)))
            edges[made_by] += 1
            partly = operation(op.op).in_place if isinstance(op, Kernel) else ()
            for index, view in enumerate(writes):
                # Several results of one op are told apart, so that a reader of the wrong one is seen.
                writers.write(view, bindings, f"{made_by}.{index}", partly=index in partly)
        return ops, edges, labels
