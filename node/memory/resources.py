"""The tiers and ports of a device as resources with a capacity, and how much a use of them takes.

Named as in the rest of windtunnel: duplex sides are one resource each, a declared total is one more, and what is
simplex is one resource of capacity 1 that takes shares of time. The quantity that flows is bytes; a use that moves none
flows seconds at rate 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.errors import BadAttribute, Unsupported
from node.hardware.device import DeviceSpec, PortSpec, TierSpec


class SharedResource:
    """Something that uses share.

    Attributes:
        name: ``csd0.flash.read``, ``csd0.pcie.write``, ``csd0.pcie-root>``.
        capacity: [bytes/s]; 1 when it is shared by time.
        booked: (start_at, end_at, amount) of what the ledger has charged, oldest first.
        booked_until: latest `end_at` in it.
    """

    __slots__ = ("booked", "booked_until", "capacity", "name")

    def __init__(self, name: str, capacity: float) -> None:
        self.name, self.capacity = name, capacity
        self.booked: list[tuple[float, float, float]] = []
        self.booked_until = -math.inf

    def forget(self) -> None:
        """Forgets every booking."""
        self.booked.clear()
        self.booked_until = -math.inf


Side = tuple[tuple[SharedResource, float], ...]
"""(resource, how much of it one unit of rate takes)."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one command takes while it flows.

    Attributes:
        work: bytes, or seconds when it moves none.
        rate_limit: its speed alone [bytes/s or 1].
        latency_s: paid first, without bandwidth [s].
        loads: resources and weights, each resource once.
    """

    work: float
    rate_limit: float
    latency_s: float
    loads: Side

    @property
    def alone_s(self) -> float:
        """How long it takes when nothing else runs [s]."""
        return self.latency_s + (self.work / fastest(self.rate_limit, self.loads) if self.work else 0.0)


def fastest(rate_limit: float, loads: Side) -> float:
    """The highest rate that the limit and every resource alone allow."""
    return min((rate_limit, *(resource.capacity / weight for resource, weight in loads)))


class DeviceResources:
    """The resources of one device.

    Attributes:
        by_name: every resource.
    """

    def __init__(self, device: str, spec: DeviceSpec) -> None:
        self.device, self.spec = device, spec
        self.by_name: dict[str, SharedResource] = {}
        self._declared: dict[str, float] = {}
        self._tiers = {tier.name: self._sides(tier) for tier in spec.tiers.values()}
        self._ports = {port.name: self._sides(port) for port in spec.ports.values()}

    def tier(self, name: str, *, writes: bool) -> Side:
        """One side of a tier."""
        return self._tiers[name][int(writes)]

    def port(self, name: str, *, enters: bool) -> Side:
        """One side of a port; "" loads nothing.

        Raises:
            Unsupported: the device has no such port.
        """
        if not name:
            return ()
        if name not in self._ports:
            raise Unsupported(f"{self.device} has no port {name!r}; it has {', '.join(self._ports) or 'none'}")
        return self._ports[name][int(enters)]

    def throttle(self, ratios: Mapping[str, tuple[float, float]]) -> None:
        """Leaves parts a share of what is declared, and gives all others the whole.

        Args:
            ratios: of reads and writes, by tier or port; what is simplex or has a total takes the lesser for both.

        Raises:
            BadAttribute: the device has no such tier or port.
        """
        known = {*self._tiers, *self._ports}
        for part in ratios:
            if part not in known:
                raise BadAttribute(f"{self.device} has no tier or port {part!r}; it has {', '.join(sorted(known))}")
        for name, resource in self.by_name.items():
            part, side = name.removeprefix(f"{self.device}.").rsplit(".", 1)
            read, write = ratios.get(part, (1.0, 1.0))
            resource.capacity = self._declared[name] * {"read": read, "write": write}.get(side, min(read, write))

    def kernel_use(
        self, time_s: float, latency_s: float, read_bytes: Mapping[str, float], write_bytes: Mapping[str, float]
    ) -> Use:
        """What a kernel takes: its tiers in proportion to the bytes that it moves there.

        Args:
            time_s: duration alone without latency [s].
            latency_s: fixed part [s].
            read_bytes, write_bytes: by tier [bytes].
        """
        sides = [(self.tier(tier, writes=False), size) for tier, size in read_bytes.items() if size]
        sides += [(self.tier(tier, writes=True), size) for tier, size in write_bytes.items() if size]
        work = float(sum(size for _, size in sides))
        if not work:
            return Use(time_s, 1.0, latency_s, ())
        loads = joined((side, size / work) for side, size in sides)
        return Use(work, work / time_s if time_s > 0 else math.inf, latency_s, loads)

    def _sides(self, part: TierSpec | PortSpec) -> tuple[Side, Side]:
        prefix = f"{self.device}.{part.name}"
        if part.simplex:
            turns = self._add(f"{prefix}.simplex", 1.0)
            read: Side = ((turns, 1.0 / part.read_bytes_per_s),)
            write: Side = ((turns, 1.0 / part.write_bytes_per_s),)
        else:
            read = ((self._add(f"{prefix}.read", part.read_bytes_per_s), 1.0),)
            write = ((self._add(f"{prefix}.write", part.write_bytes_per_s), 1.0),)
        if part.total_bytes_per_s is not None:
            total: Side = ((self._add(f"{prefix}.total", part.total_bytes_per_s), 1.0),)
            read, write = read + total, write + total
        return read, write

    def _add(self, name: str, capacity: float) -> SharedResource:
        self.by_name[name] = SharedResource(name, capacity)
        self._declared[name] = capacity
        return self.by_name[name]


def joined(sides: Iterable[tuple[Side, float]]) -> Side:
    """Several sides, each scaled, as one, in which every resource stands once."""
    taken: dict[str, tuple[SharedResource, float]] = {}
    for side, share in sides:
        for resource, weight in side:
            _, before = taken.get(resource.name, (resource, 0.0))
            taken[resource.name] = (resource, before + weight * share)
    return tuple(taken.values())
