"""Does a plan fit, and which frees must an allocation wait for.

Accounting follows program order, which is one valid serial execution. Where an allocation fits only because of earlier
frees of the same plan, it gets edges from those frees, oldest first, so that no overlap can break the fit: first come,
first served, decided before anything runs and equal for both executors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import DoubleFree, OutOfMemory
from controller.plan.author import where
from controller.plan.ops import Alloc, Buffer, Free, Plan

TierKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fit:
    """Outcome of `fit_plan`.

    Attributes:
        peak_bytes: highest occupancy of each tier that the plan allocates in, what was used before included [bytes].
        extra_after: for op index, further ops that must have ended before it starts.
    """

    peak_bytes: Mapping[TierKey, int]
    extra_after: Mapping[int, tuple[int, ...]]


def fit_plan(plan: Plan, used_bytes: Mapping[TierKey, int], capacity_bytes: Mapping[TierKey, int]) -> Fit:
    """Walks the allocations of `plan` in program order.

    Args:
        plan: what to fit.
        used_bytes: occupancy before it, by (device, tier) [bytes].
        capacity_bytes: size of every tier [bytes].

    Raises:
        OutOfMemory: an allocation exceeds its tier even after every earlier free.
        DoubleFree: a buffer is freed twice, or allocated twice without a free.
    """
    used = dict(used_bytes)
    peak: dict[TierKey, int] = {}
    extra: dict[int, tuple[int, ...]] = {}
    claimed: dict[TierKey, int] = dict(used)
    frees: dict[TierKey, list[tuple[int, int]]] = {}
    waited: dict[TierKey, int] = {}
    alive: dict[Buffer, None] = {}
    gone: dict[Buffer, None] = {}
    for index, op in enumerate(plan.ops):
        if isinstance(op, Alloc):
            key = (op.buffer.device, op.buffer.tier)
            if op.buffer in alive:
                raise DoubleFree(f"{where(plan, index)}: {op.buffer} is allocated while it is still there")
            alive[op.buffer] = None
            gone.pop(op.buffer, None)
            need, capacity = op.buffer.nbytes, capacity_bytes[key]
            if used.get(key, 0) + need > capacity:
                raise OutOfMemory(*key, need, capacity - used.get(key, 0), capacity, op.buffer.name)
            # A free may have made more room than its first taker needed: who takes the rest comes after that taker.
            waits = [waited[key]] if key in waited else []
            queue = frees.setdefault(key, [])
            while claimed.get(key, 0) + need > capacity:
                freed_by, freed_bytes = queue.pop(0)
                waits.append(freed_by)
                claimed[key] -= freed_bytes
                waited[key] = index
            if waits:
                extra[index] = tuple(sorted(waits))
            used[key] = used.get(key, 0) + need
            claimed[key] = claimed.get(key, 0) + need
            peak[key] = max(peak.get(key, 0), claimed[key])
        elif isinstance(op, Free):
            key = (op.buffer.device, op.buffer.tier)
            if op.buffer in gone:
                raise DoubleFree(f"{where(plan, index)}: {op.buffer} is freed twice")
            alive.pop(op.buffer, None)
            gone[op.buffer] = None
            used[key] = used.get(key, 0) - op.buffer.nbytes
            frees.setdefault(key, []).append((index, op.buffer.nbytes))
    return Fit(peak, extra)
