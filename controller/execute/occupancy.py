"""How full every tier is, in exact bytes: the part of a run that both executors share."""

from __future__ import annotations

from controller.errors import DoubleFree, OutOfMemory, UnknownDevice, UnwrittenRead
from controller.execute.trace import Level, Trace
from controller.plan.capacity import TierKey
from controller.plan.ops import Alloc, Buffer, Free, Plan
from controller.topology.schema import Topology


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
        self._changes = 0
        self._trace = trace

    def take(self, buffer: Buffer, *, written: bool, now: float) -> None:
        """Takes a buffer out of its tier.

        Raises:
            OutOfMemory: it does not fit.
            UnknownDevice: no such device or tier.
            DoubleFree: it is already there.
        """
        key = (buffer.device, buffer.tier)
        if key not in self.capacity_bytes:
            tiers = ", ".join(f"{device}.{tier}" for device, tier in self.capacity_bytes)
            raise UnknownDevice(f"{buffer} needs tier {buffer.device}.{buffer.tier}; the topology has {tiers}")
        if buffer in self._there:
            raise DoubleFree(f"{buffer} is placed twice; release it first or choose another name")
        need, used, capacity = buffer.nbytes, self.used_bytes[key], self.capacity_bytes[key]
        if used + need > capacity:
            raise OutOfMemory(*key, need, capacity - used, capacity, buffer.name)
        self._there[buffer] = written
        self._level(key, used + need, now)

    def give(self, buffer: Buffer, *, now: float) -> None:
        """Gives a buffer back.

        Raises:
            DoubleFree: it is not there.
        """
        if self._there.pop(buffer, None) is None:
            raise DoubleFree(f"{buffer} is released but was not there")
        key = (buffer.device, buffer.tier)
        self._changes += 1
        self._level(key, self.used_bytes[key] - buffer.nbytes, now)

    def is_there(self, buffer: Buffer) -> bool:
        """Whether the buffer is placed."""
        return buffer in self._there

    def set_written(self, buffer: Buffer) -> None:
        """Notes that the buffer has content."""
        self._there[buffer] = True

    def admit(self, plan: Plan) -> None:
        """Checks that every buffer which `plan` uses is there and every buffer that it reads has content.

        Raises:
            UnwrittenRead: a byte without a source, or a buffer that nobody placed.
        """
        # A plan that was admitted is admissible until a buffer goes: a decode loop asks a thousand times.
        if plan.cache.get("admitted") == (id(self), self._changes):
            return
        facts = plan.cache.get("buffers")
        if facts is None:
            facts = plan.cache["buffers"] = _buffers_of(plan)
        read_first, written, own = facts
        for buffer in read_first:
            if not self._there.get(buffer, False):
                state = "has no content" if buffer in self._there else "is not placed"
                raise UnwrittenRead(
                    f"plan {plan.name!r} reads {buffer}, which {state}; place it, or write it before this plan"
                )
        for buffer in written:
            if buffer in own:
                continue
            if buffer not in self._there:
                raise UnwrittenRead(f"plan {plan.name!r} writes {buffer}, which is not placed; place or allocate it")
            self._there[buffer] = True
        plan.cache["admitted"] = (id(self), self._changes)

    def note_peak(self, peaks: dict[TierKey, int]) -> None:
        """Raises the recorded peaks to what a plan reaches inside."""
        for key, peak in peaks.items():
            self.peak_bytes[key] = max(self.peak_bytes.get(key, 0), peak)

    def _level(self, key: TierKey, used: int, now: float) -> None:
        self.used_bytes[key] = used
        self.peak_bytes[key] = max(self.peak_bytes.get(key, 0), used)
        if self._trace is not None:
            self._trace.levels.append(Level(*key, now, used))


def _buffers_of(plan: Plan) -> tuple[tuple[Buffer, ...], tuple[Buffer, ...], frozenset[Buffer]]:
    """What a plan reads before writing, what it writes, and what it allocates itself."""
    from controller.plan.check import accesses

    own = frozenset(op.buffer for op in plan.ops if isinstance(op, Alloc))
    read_first: dict[Buffer, None] = {}
    written: dict[Buffer, None] = {}
    for op in plan.ops:
        if isinstance(op, Alloc | Free):
            continue
        reads, writes = accesses(op)
        for view in reads:
            if view.buffer not in written:
                read_first[view.buffer] = None
        for view in writes:
            written[view.buffer] = None
    return tuple(read_first), tuple(written), own
