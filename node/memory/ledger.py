"""When a use ends on a clock that nobody waits for: device time without pacing.

Model: uses are charged in the order in which the node gets to them, which need not be the order of device time. A use
flows at its speed alone where its resources are free. Where others are booked it gets what they leave, but never less
than an equal share; those that were booked before keep their times.
Source: first principles.
Valid for: uses that rarely overlap; exact when none do.
Not modelled: the slowdown of what was booked first. With pacing, and on the virtual clock, sharing is max-min fair.
"""

from __future__ import annotations

from threading import Lock

from node.memory.resources import SharedResource, Use, fastest

_KEPT = 64
"""How many bookings a resource remembers; commands that overlap are far fewer."""


class UseLedger:
    """Books uses on resources."""

    def __init__(self) -> None:
        self._lock = Lock()

    def charge(self, use: Use, start_at: float) -> float:
        """Books `use` from `start_at` [s] and returns when it ends [s]."""
        flows_at = start_at + use.latency_s
        if not use.work:
            return flows_at
        alone = fastest(use.rate_limit, use.loads)
        with self._lock:
            if all(resource.booked_until <= flows_at for resource, _ in use.loads):
                end_at = flows_at + use.work / alone
            else:
                end_at = _end_among_others(use, flows_at, alone)
            rate = use.work / (end_at - flows_at) if end_at > flows_at else 0.0
            for resource, weight in use.loads:
                _book(resource, flows_at, end_at, rate * weight)
        return end_at


def _book(resource: SharedResource, start_at: float, end_at: float, amount: float) -> None:
    if resource.booked_until <= start_at and len(resource.booked) >= _KEPT:
        resource.booked.clear()  # all past for an in-order queue, which is what books this often
    resource.booked.append((start_at, end_at, amount))
    if len(resource.booked) > 2 * _KEPT:
        del resource.booked[:_KEPT]
    resource.booked_until = max(resource.booked_until, end_at)


def _end_among_others(use: Use, flows_at: float, alone: float) -> float:
    """Steps from one change of the bookings to the next until the work is done."""
    changes = {at for resource, _ in use.loads for entry in resource.booked for at in entry[:2] if at > flows_at}
    now, left = flows_at, use.work
    for change_at in sorted(changes):
        rate = alone
        for resource, weight in use.loads:
            others = [amount for start, end, amount in resource.booked if start <= now < end]
            spare = resource.capacity - sum(others)
            rate = min(rate, max(spare, resource.capacity / (len(others) + 1)) / weight)
        if left <= rate * (change_at - now):
            return now + left / rate
        left -= rate * (change_at - now)
        now = change_at
    return now + left / alone
