"""How full every tier is, in exact bytes: the part of a run that both executors share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from controller.errors import BadPlan, DoubleFree, OutOfMemory, UnknownDevice, UnwrittenRead
from controller.execute.trace import Level, Trace
from controller.plan.author import where
from controller.plan.capacity import TierKey, fit_plan
from controller.plan.extents import accesses, touched_buffers
from controller.plan.memo import PlanMemo
from controller.plan.ops import Alloc, Buffer, Free, Plan, two_of_one_name
from controller.topology.schema import Topology


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """What the allocations inside one running plan come to.

    Attributes:
        extra_after: for op index, further ops that must have ended before it starts, so that it fits.
        reserved_bytes: what it takes at most beyond what was there before, by tier [bytes].
        made: buffers that stay when it has ended.
        passing: buffers that it allocates and frees, so that they are there only while it runs.
        freed: buffers that were there before and are gone when it has ended.
    """

    extra_after: Mapping[int, tuple[int, ...]]
    reserved_bytes: Mapping[TierKey, int]
    made: tuple[Buffer, ...]
    passing: tuple[Buffer, ...]
    freed: tuple[Buffer, ...]

    def cancelled(self) -> Lifetimes:
        """The same of a plan that is ended early: whatever it allocates goes with it."""
        return self if self is _NOTHING else replace(self, made=(), passing=(*self.made, *self.passing))


_NOTHING = Lifetimes({}, {}, (), (), ())


class Occupancy:
    """Buffers that are there, who wrote them, and how much of each tier they take."""

    def __init__(self, topology: Topology, trace: Trace | None = None) -> None:
        self.capacity_bytes: dict[TierKey, int] = {
            (device.name, tier.name): tier.capacity_bytes
            for device in topology.devices.values()
            for tier in device.spec.tiers.values()
        }
        self.used_bytes: dict[TierKey, int] = dict.fromkeys(self.capacity_bytes, 0)
        self.peak_bytes: dict[TierKey, int] = {}
        self._there: dict[Buffer, bool] = {}
        self._named: dict[tuple[str, str, str], Buffer] = {}
        self._changes = 0
        self._admitted: PlanMemo[int] = PlanMemo()
        self._trace = trace

    @property
    def peaks(self) -> dict[str, int]:
        """Highest occupancy by ``device.tier`` [bytes], of tiers that were used."""
        return {f"{device}.{tier}": peak for (device, tier), peak in self.peak_bytes.items() if peak}

    def take(self, buffer: Buffer, *, written: bool, now: float) -> None:
        """Takes a buffer out of its tier.

        Raises:
            OutOfMemory: it does not fit.
            UnknownDevice: no such device or tier.
            DoubleFree: it is already there.
            BadPlan: a buffer of its name and another type or shape is there.
        """
        key = (buffer.device, buffer.tier)
        if key not in self.capacity_bytes:
            tiers = ", ".join(f"{device}.{tier}" for device, tier in self.capacity_bytes)
            raise UnknownDevice(f"{buffer} needs tier {buffer.device}.{buffer.tier}; the topology has {tiers}")
        if buffer in self._there:
            raise DoubleFree(f"{buffer} is placed twice; release it first or choose another name")
        self._check_name(buffer)
        need, used, capacity = buffer.nbytes, self.used_bytes[key], self.capacity_bytes[key]
        if used + need > capacity:
            raise OutOfMemory(*key, need, capacity - used, capacity, buffer.name)
        self._there[buffer] = written
        self._named[_name(buffer)] = buffer
        self._changes += 1
        self._level(key, used + need, now)

    def give(self, buffer: Buffer, *, now: float) -> None:
        """Gives a buffer back.

        Raises:
            DoubleFree: it is not there.
        """
        if self._there.pop(buffer, None) is None:
            raise DoubleFree(f"{buffer} is released but was not there")
        del self._named[_name(buffer)]
        key = (buffer.device, buffer.tier)
        self._changes += 1
        self._level(key, self.used_bytes[key] - buffer.nbytes, now)

    def set_written(self, buffer: Buffer) -> None:
        """Notes that the buffer has content.

        Raises:
            UnwrittenRead: it is not placed.
        """
        if buffer not in self._there:
            raise UnwrittenRead(f"{buffer} is written but not placed; place it first")
        self._there[buffer] = True

    def admit(self, plan: Plan) -> None:
        """Checks that every buffer which `plan` uses is there and every buffer that it reads has content.

        Raises:
            UnwrittenRead: a byte without a source, or a buffer that nobody placed.
            DoubleFree: a buffer is freed that is not there, or allocated while it is.
            BadPlan: a buffer is allocated while one of its name and another type or shape is there.
        """
        # A plan that was admitted is admissible until a buffer comes or goes: a decode loop asks a thousand times.
        if self._admitted.get(plan) == self._changes:
            return
        facts = _facts.of(plan, _BufferFacts.of)
        for buffer in facts.made:
            if buffer in self._there:
                raise DoubleFree(f"plan {plan.name!r} allocates {buffer}, which is already there; release it first")
            self._check_name(buffer)
        for buffer in facts.read_first:
            if not self._there.get(buffer, False):
                known = buffer in self._there or buffer in facts.made
                state = "has no content" if known else "is not placed"
                raise UnwrittenRead(
                    f"{_first_use(plan, buffer)} reads {buffer}, which {state}; place it, or write it before this plan"
                )
        for buffer in facts.ended:
            if buffer not in self._there:
                raise DoubleFree(f"plan {plan.name!r} frees {buffer}, which is not there")
        for buffer in facts.written:
            if buffer in facts.made:
                continue
            if buffer not in self._there:
                raise UnwrittenRead(
                    f"{_first_use(plan, buffer)} writes {buffer}, which is not placed; place or allocate it"
                )
            self._there[buffer] = True
        self._admitted.put(plan, self._changes)

    def begin(self, plan: Plan, *, now: float) -> Lifetimes:
        """Accounts for the allocations inside `plan`; what they reach at most counts as taken until `end`.

        Raises:
            OutOfMemory: they do not fit, even after every earlier free of the plan.
            DoubleFree: a buffer is freed twice, or allocated twice without a free.
        """
        if not _allocates.of(plan, _has_allocations):
            return _NOTHING
        fit = fit_plan(plan, self.used_bytes, self.capacity_bytes)
        last = {op.buffer: op for op in plan.ops if isinstance(op, Alloc | Free)}
        here = {buffer: buffer in self._there for buffer in last}
        made = tuple(buffer for buffer, op in last.items() if isinstance(op, Alloc) and not here[buffer])
        passing = tuple(buffer for buffer, op in last.items() if isinstance(op, Free) and not here[buffer])
        freed = tuple(buffer for buffer, op in last.items() if isinstance(op, Free) and here[buffer])
        reserved = {key: peak - self.used_bytes[key] for key, peak in fit.peak_bytes.items()}
        for key, peak in fit.peak_bytes.items():
            self._level(key, peak, now)
        for buffer in (*made, *passing):
            self._there[buffer] = True
            self._named[_name(buffer)] = buffer
        self._changes += 1
        return Lifetimes(fit.extra_after, reserved, made, passing, freed)

    def end(self, lifetimes: Lifetimes, *, now: float) -> None:
        """The plan behind `lifetimes` has ended: what it freed is gone, what it allocated and kept stays."""
        if lifetimes is _NOTHING:
            return
        change = {key: -size for key, size in lifetimes.reserved_bytes.items()}
        for buffer in lifetimes.made:
            change[buffer.device, buffer.tier] += buffer.nbytes
        for buffer in lifetimes.passing:
            del self._there[buffer], self._named[_name(buffer)]
        for buffer in lifetimes.freed:
            if self._there.pop(buffer, None) is not None:
                del self._named[_name(buffer)]
                key = (buffer.device, buffer.tier)
                change[key] = change.get(key, 0) - buffer.nbytes
        self._changes += 1
        for key, size in change.items():
            self._level(key, self.used_bytes[key] + size, now)

    def _check_name(self, buffer: Buffer) -> None:
        other = self._named.get(_name(buffer), buffer)
        if other != buffer:
            raise BadPlan(two_of_one_name(buffer, other))

    def _level(self, key: TierKey, used: int, now: float) -> None:
        self.used_bytes[key] = used
        self.peak_bytes[key] = max(self.peak_bytes.get(key, 0), used)
        if self._trace is not None:
            self._trace.levels.append(Level(*key, now, used))


def _name(buffer: Buffer) -> tuple[str, str, str]:
    return buffer.device, buffer.tier, buffer.name


def check_unused(buffer: Buffer, started: Iterable[Plan]) -> None:
    """Checks that no plan which somebody still has to wait for touches `buffer`.

    Raises:
        DoubleFree: one does.
    """
    for plan in started:
        if buffer in _touched.of(plan, lambda started: frozenset(touched_buffers(started))):
            raise DoubleFree(
                f"{buffer} is released while plan {plan.name!r} uses it; yield the ticket of that plan first"
            )


@dataclass(frozen=True, slots=True)
class _BufferFacts:
    """What a plan needs to be there: buffers that it reads before writing, writes, allocates first and frees first."""

    read_first: tuple[Buffer, ...]
    written: tuple[Buffer, ...]
    made: frozenset[Buffer]
    ended: tuple[Buffer, ...]

    @classmethod
    def of(cls, plan: Plan) -> _BufferFacts:
        made: dict[Buffer, None] = {}
        ended: dict[Buffer, None] = {}
        read_first: dict[Buffer, None] = {}
        written: dict[Buffer, None] = {}
        for op in plan.ops:
            if isinstance(op, Alloc):
                if op.buffer not in ended and op.buffer not in read_first and op.buffer not in written:
                    made[op.buffer] = None
            elif isinstance(op, Free):
                if op.buffer not in made:
                    ended[op.buffer] = None
            else:
                reads, writes = accesses(op)
                for view in reads:
                    if view.buffer not in written:
                        read_first[view.buffer] = None
                for view in writes:
                    written[view.buffer] = None
        return cls(tuple(read_first), tuple(written), frozenset(made), tuple(ended))


_facts: PlanMemo[_BufferFacts] = PlanMemo()
_allocates: PlanMemo[bool] = PlanMemo()
_touched: PlanMemo[frozenset[Buffer]] = PlanMemo()


def _has_allocations(plan: Plan) -> bool:
    return any(isinstance(op, Alloc | Free) for op in plan.ops)


def _first_use(plan: Plan, buffer: Buffer) -> str:
    """What begins an error about a buffer: the first op that touches it."""
    uses = (index for index, op in enumerate(plan.ops) if any(view.buffer == buffer for view in sum(accesses(op), ())))
    return where(plan, next(uses))
