"""What a device has done: bytes, FLOP and busy time of each tier, unit and port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from node.hardware.device import DeviceSpec


@dataclass(slots=True)
class TierCount:
    """Of a tier, by kernels and pushes [bytes, s]; loaded and fetched are Write and Read from outside."""

    read_bytes: int = 0
    written_bytes: int = 0
    busy_s: float = 0.0
    loaded_bytes: int = 0
    fetched_bytes: int = 0


@dataclass(slots=True)
class UnitCount:
    """Of a compute unit [FLOP, s]."""

    flop: float = 0.0
    busy_s: float = 0.0
    launches: int = 0


@dataclass(slots=True)
class PortCount:
    """Of a port [bytes, s]."""

    out_bytes: int = 0
    in_bytes: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class KernelCount:
    """What one launch adds, worked out once: (tier, read, written, busy) of each tier, and the unit."""

    tiers: tuple[tuple[str, int, int, float], ...]
    unit: str
    flop: float
    busy_s: float


@dataclass(slots=True)
class Totals:
    """All counters of a device."""

    tiers: Mapping[str, TierCount]
    units: Mapping[str, UnitCount]
    ports: Mapping[str, PortCount]
    commands: int = 0
    failures: int = 0
    overruns: int = 0


@dataclass(slots=True)
class Counters:
    """Adds up; every method may be called from any thread."""

    spec: DeviceSpec
    totals: Totals = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.totals = self._zero()

    def kernel(self, count: KernelCount) -> None:
        """Adds a launch."""
        with self._lock:
            for tier, read, written, busy_s in count.tiers:
                entry = self.totals.tiers[tier]
                entry.read_bytes += read
                entry.written_bytes += written
                entry.busy_s += busy_s
            if count.unit:
                unit = self.totals.units[count.unit]
                unit.flop += count.flop
                unit.busy_s += count.busy_s
                unit.launches += 1

    def read(self, tier: str, size_bytes: int) -> None:
        """Adds bytes that a push read."""
        with self._lock:
            self.totals.tiers[tier].read_bytes += size_bytes
            self.totals.tiers[tier].busy_s += size_bytes / self.spec.tiers[tier].read_bytes_per_s

    def written(self, tier: str, size_bytes: int) -> None:
        """Adds bytes that a push wrote."""
        with self._lock:
            self.totals.tiers[tier].written_bytes += size_bytes
            self.totals.tiers[tier].busy_s += size_bytes / self.spec.tiers[tier].write_bytes_per_s

    def port(self, port: str, *, out_bytes: int = 0, in_bytes: int = 0) -> None:
        """Adds bytes that passed a port; "" is none."""
        if port in self.totals.ports:
            spec = self.spec.ports[port]
            with self._lock:
                entry = self.totals.ports[port]
                entry.out_bytes += out_bytes
                entry.in_bytes += in_bytes
                entry.busy_s += out_bytes / spec.read_bytes_per_s + in_bytes / spec.write_bytes_per_s

    def loaded(self, tier: str, size_bytes: int) -> None:
        """Adds bytes that came from outside."""
        with self._lock:
            self.totals.tiers[tier].loaded_bytes += size_bytes

    def fetched(self, tier: str, size_bytes: int) -> None:
        """Adds bytes that went outside."""
        with self._lock:
            self.totals.tiers[tier].fetched_bytes += size_bytes

    def batch(self, commands: int, failures: int, overruns: int) -> None:
        """Adds a batch of commands."""
        with self._lock:
            self.totals.commands += commands
            self.totals.failures += failures
            self.totals.overruns += overruns

    def taken(self, *, reset: bool) -> Totals:
        """The totals so far; with `reset` counting starts again from zero."""
        with self._lock:
            totals = self.totals
            if reset:
                self.totals = self._zero()
            return totals

    def _zero(self) -> Totals:
        return Totals(
            {name: TierCount() for name in self.spec.tiers},
            {name: UnitCount() for name in self.spec.computes},
            {name: PortCount() for name in self.spec.ports},
        )
